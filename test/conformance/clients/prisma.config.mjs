/** Generating the client needs no database. */
export default { schema: 'schema.prisma' };
