declare module 'cloudflare:workers' {
  /** Variables, secrets and bindings of the Worker: wrangler.toml. */
  export const env: Record<string, unknown> & {
    /** https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/ */
    RATE_LIMITER?: { limit(options: { key: string }): Promise<{ success: boolean }> };
    /** https://developers.cloudflare.com/hyperdrive/ */
    HYPERDRIVE?: { connectionString: string };
  };
}
