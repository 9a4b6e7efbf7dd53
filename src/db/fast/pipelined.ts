import type { Client } from '@neondatabase/serverless';
import { assertOverrides, fastClient, type FastClient, MECHANISM } from './client.ts';
import { failure } from './scram.ts';

/**
 * A `fastClient()` that sends the first SCRAM message with the start-up and the queued query with the second: connecting
 * and a first query take two round trips instead of four. The query is sent before the server has proved that it knows the
 * password, so only TLS authenticates the server: on a socket that is neither `wss:` nor loopback, this has no effect. As
 * when the driver pipelines a password, `connect()` resolves before authentication has finished: if it is refused, the query
 * fails.
 *
 * For servers that ask for SCRAM. Has no effect where the driver itself pipelines a cleartext password, which takes one
 * round trip (`neonConfig.pipelineConnect`).
 * @throws {DatabaseError} as `fastClient` does
 */
export function pipelinedClient(): typeof Client {
  const Base = fastClient() as unknown as FastClient;

  class PipelinedClient extends Base {
    /** The first SCRAM message was sent with the start-up, whose ReadyForQuery has not come yet. */
    #ahead = false;

    override _connect(callback: (error?: Error) => void): void {
      super._connect(callback);
      if (this.ssl || this.neonConfig.pipelineConnect || !isPrivate(this)) return;
      // After the driver's own listener, which sends the start-up.
      this.connection.once('connect', () => {
        super._handleAuthSASL({ mechanisms: [MECHANISM] });
        this.#ahead = true;
      });
    }

    override _handleAuthCleartextPassword(): void {
      if (!this.#ahead) super._handleAuthCleartextPassword();
      else this.refuse(failure('auth', 'the server asks for a cleartext password: SCRAM cannot be pipelined'));
    }

    override _handleAuthSASL(message: { mechanisms: string[] }): void {
      // If ahead, what this would send has been sent already.
      if (!this.#ahead || !message.mechanisms.includes(MECHANISM)) super._handleAuthSASL(message);
    }

    override async _handleAuthSASLContinue(message: { data: string }): Promise<void> {
      await super._handleAuthSASLContinue(message);
      if (this.#ahead && !this.connection.stream.destroyed) super._handleReadyForQuery(); // sends what is queued
    }

    override _handleReadyForQuery(): void {
      if (!this.#ahead) return super._handleReadyForQuery();
      this.#ahead = false; // the start-up's: the query that was sent meanwhile waits for the next one
    }
  }
  assertOverrides(PipelinedClient);
  return PipelinedClient;
}

/** Whether nobody can eavesdrop, or answer in place of the server. */
function isPrivate({ neonConfig, host, port }: Pick<Client, 'neonConfig' | 'host' | 'port'>): boolean {
  if (neonConfig.useSecureWebSocket) return true;
  const { hostname } = new URL(`ws://${neonConfig.wsProxyAddrForHost(host, port)}`);
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
