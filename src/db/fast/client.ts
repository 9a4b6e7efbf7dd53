import { Client } from '@neondatabase/serverless';
import { misuse } from '../error.ts';
import { answerChallenge, failure, malformed, rememberSaltedPassword, verifyServerFinal } from './scram.ts';

/** The version of `@neondatabase/serverless` whose private members this folder relies on. */
export const DRIVER_VERSION = '1.2.0';

export const MECHANISM = 'SCRAM-SHA-256';

/** What the driver's client has but does not declare, or declares as `any`: the authentication of the `pg` that it bundles. */
export interface LogIn {
  saslSession: { message: string; response: string; serverSignature?: string } | null | undefined;
  _connect(callback: (error?: Error) => void): void;
  _handleAuthCleartextPassword(): void;
  _handleAuthSASL(message: { mechanisms: string[] }): void;
  _handleAuthSASLContinue(message: { data: string }): Promise<void>;
  _handleAuthSASLFinal(message: { data: string }): void;
  _handleReadyForQuery(): void;
}

type Opened<More> = new (config?: ConstructorParameters<typeof Client>[0]) => Omit<Client, keyof LogIn> & LogIn & More;

/** What `fastClient` returns, for a class that extends it. */
export type FastClient = Opened<{ refuse(error: unknown): void }>;

/**
 * The driver's `Client`, with SCRAM authentication that takes a few milliseconds of CPU time, where the driver's own takes
 * over a hundred. Anything wrong with the server's messages rejects `connect()` with a `DatabaseError` and closes the socket;
 * the driver's own SCRAM throws where nothing can catch it, and hangs.
 * @throws {DatabaseError} of kind `query` when the installed driver lacks what this relies on. Falling back to the driver's
 *   own implementation would silently bring back what this is here to avoid
 */
export function fastClient(): typeof Client {
  const saltPassword = rememberSaltedPassword();

  class FastClient extends (Client as unknown as Opened<unknown>) {
    override _handleAuthSASL(message: { mechanisms: string[] }): void {
      if (!message.mechanisms.includes(MECHANISM)) {
        return this.refuse(failure('auth', `the server offers no ${MECHANISM}`));
      }
      super._handleAuthSASL(message);
      this.connection.on('authenticationOk', () => {
        if (this.saslSession) this.refuse(failure('auth', 'the SCRAM signature is missing'));
      });
    }

    override async _handleAuthSASLContinue({ data }: { data: string }): Promise<void> {
      try {
        const { saslSession: session, password } = this; // without one the server refuses the log-in
        if (session?.message !== 'SASLInitialResponse') throw malformed();
        session.message = 'SASLResponse';
        const { clientFinal, serverSignature } = await answerChallenge(
          { password: password ?? '', clientFirst: session.response, serverFirst: data },
          saltPassword,
        );
        session.serverSignature = serverSignature;
        // The connection may have been refused or cut off meanwhile.
        if (!this.connection.stream.destroyed) this.connection.sendSCRAMClientFinalMessage(clientFinal);
      } catch (error) {
        this.refuse(error);
      }
    }

    override _handleAuthSASLFinal({ data }: { data: string }): void {
      try {
        verifyServerFinal(data, this.saslSession?.serverSignature);
        this.saslSession = null;
      } catch (error) {
        this.refuse(error);
      }
    }

    refuse(error: unknown): void {
      const { connection } = this;
      // Whatever else the server has sent must reach no listener: the driver would find no query for it, and throw.
      for (const event of connection.eventNames()) {
        if (event !== 'error' && event !== 'end') connection.removeAllListeners(event);
      }
      connection.stream.destroy();
      connection.emit('error', error);
    }
  }
  assertOverrides(FastClient);
  return FastClient;
}

/** Each method whose name begins with an underscore, as the driver's private ones do, is there to override one of them. */
export function assertOverrides({ prototype }: { prototype: object }): void {
  for (const name of Object.getOwnPropertyNames(prototype)) {
    if (!name.startsWith('_') || name in Client.prototype) continue;
    throw misuse(`fast/ needs ${name} of @neondatabase/serverless ${DRIVER_VERSION}`);
  }
}
