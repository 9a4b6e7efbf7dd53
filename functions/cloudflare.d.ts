declare module 'cloudflare:workers' {
  /** Variables, secrets and bindings of the Worker. */
  export const env: Record<string, unknown>;
}
