/** The migrated database that nothing connects to, for test files to copy: PostgreSQL copies no other. */
export const PRISTINE = 'pristine';
