import { Client } from '@neondatabase/serverless';
import { DatabaseError } from '../error.ts';
import { answerChallenge, failure, rememberSaltedPassword, verifyServerFinal } from './scram.ts';

/** The version of `@neondatabase/serverless` whose private parts this file builds on. */
export const DRIVER_VERSION = '1.2.0';

const MECHANISM = 'SCRAM-SHA-256';

interface FastClientOptions {
  /**
   * Sends the first SCRAM message with the start-up and the queued query with the second: connecting and a first query
   * take two round trips instead of four. The query leaves before the server has proved that it knows the password, which
   * leaves it to TLS to say who the server is: on a socket that is neither `wss:` nor loopback this has no effect. As when
   * the driver pipelines a password, `connect()` resolves before the log-in is decided: a refusal fails the query.
   *
   * For servers that ask for SCRAM. Has no effect where the driver itself pipelines a cleartext password, which takes one
   * round trip (`neonConfig.pipelineConnect`). Default: false.
   */
  pipelined?: boolean;
}

/**
 * The driver's `Client` with a SCRAM log-in that costs a few milliseconds of CPU instead of 60. Whatever is wrong with the
 * server's messages is a `DatabaseError` of `connect()` and closes the socket; the driver's own SCRAM throws where nobody
 * can catch it, and hangs.
 * @throws {DatabaseError} of kind `query` when the installed driver lacks what this builds on. To go on in the driver's own
 *   way would bring back what this is here to avoid, and nobody would know
 */
export function fastClient({ pipelined = false }: FastClientOptions = {}): typeof Client {
  const saltPassword = rememberSaltedPassword();

  class FastClient extends DriverClient {
    /** The first SCRAM message left with the start-up, whose ReadyForQuery has not come yet. */
    #ahead = false;

    constructor(config?: ConstructorParameters<typeof Client>[0]) {
      super(config);
      this.connection.on('authenticationOk', () => {
        if (this.saslSession) this.#refuse(failure('auth', 'the server left out the signature that proves who it is'));
      });
    }

    override _connect(callback: (error?: Error) => void): void {
      super._connect(callback);
      if (!pipelined || this.ssl || this.neonConfig.pipelineConnect || !isPrivate(this)) return;
      // Behind the driver's own listener, which sends the start-up.
      this.connection.once('connect', () => {
        this.#ahead = true;
        super._handleAuthSASL({ mechanisms: [MECHANISM] });
      });
    }

    override _handleAuthCleartextPassword(): void {
      if (!this.#ahead) return super._handleAuthCleartextPassword();
      this.#refuse(failure('auth', 'the server asks for a cleartext password: SCRAM cannot be pipelined'));
    }

    override _handleAuthSASL(message: { mechanisms: string[] }): void {
      if (!message.mechanisms.includes(MECHANISM)) this.#refuse(failure('auth', `the server offers no ${MECHANISM}`));
      else if (!this.#ahead) super._handleAuthSASL(message);
    }

    override async _handleAuthSASLContinue({ data }: { data: string }): Promise<void> {
      try {
        const session = this.saslSession;
        if (session?.message !== 'SASLInitialResponse') throw outOfTurn();
        session.message = 'SASLResponse';
        const { password } = this;
        if (!password) throw failure('auth', 'the server asks for a password, and there is none');
        const challenge = { password, clientFirst: session.response, serverFirst: data };
        const { clientFinal, serverSignature } = await answerChallenge(challenge, saltPassword);
        if (this.connection.stream.destroyed) return; // refused or cut off meanwhile
        session.serverSignature = serverSignature;
        this.connection.sendSCRAMClientFinalMessage(clientFinal);
        if (this.#ahead) super._handleReadyForQuery(); // sends what is queued
      } catch (error) {
        this.#refuse(error);
      }
    }

    override _handleAuthSASLFinal({ data }: { data: string }): void {
      try {
        const serverSignature = this.saslSession?.serverSignature;
        if (serverSignature === undefined) throw outOfTurn();
        verifyServerFinal(data, serverSignature);
        this.saslSession = null;
      } catch (error) {
        this.#refuse(error);
      }
    }

    override _handleReadyForQuery(): void {
      if (!this.#ahead) return super._handleReadyForQuery();
      this.#ahead = false; // the start-up's own: the query that left meanwhile waits for another
    }

    #refuse(error: unknown): void {
      const { connection } = this;
      // What else the server has sent must reach nobody: the driver finds no query for it, and throws.
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

/** What the driver's client has and does not declare, or declares as `any`: the log-in of the `pg` that it bundles. */
interface LogIn {
  saslSession: { message: string; response: string; serverSignature?: string } | null | undefined;
  _connect(callback: (error?: Error) => void): void;
  _handleAuthCleartextPassword(): void;
  _handleAuthSASL(message: { mechanisms: string[] }): void;
  _handleAuthSASLContinue(message: { data: string }): Promise<void>;
  _handleAuthSASLFinal(message: { data: string }): void;
  _handleReadyForQuery(): void;
}

const DriverClient = Client as unknown as new (
  config?: ConstructorParameters<typeof Client>[0],
) => Omit<Client, keyof LogIn> & LogIn;

/** Each method of the class is there to replace one of the driver's. */
function assertOverrides({ prototype }: { prototype: object }): void {
  const missing = Object.getOwnPropertyNames(prototype).filter((name) => !(name in Client.prototype));
  if (missing.length === 0) return;
  const message = `fastClient() needs @neondatabase/serverless ${DRIVER_VERSION}: this one has no ${missing.join(', ')}`;
  throw new DatabaseError(message, { kind: 'query', transport: 'websocket' });
}

/** Whether nobody can listen in, or answer in the server's place. */
function isPrivate({ neonConfig, host, port }: Client): boolean {
  if (neonConfig.useSecureWebSocket) return true;
  const { hostname } = new URL(`ws://${neonConfig.wsProxyAddrForHost(host, port)}`);
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

function outOfTurn(): DatabaseError {
  return failure('connection', 'the server sent a SCRAM message out of turn');
}
