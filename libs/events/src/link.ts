import { MeshError } from '@millrace/kernel';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';

/** A connection to NATS that comes back by itself, for ever. */
export interface NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  close(): Promise<void>;
}

const firstAnswerMs = 30_000;

/** STORE_UNAVAILABLE when no server answers within 30 s. */
export async function openNats(url: string, { name }: { readonly name: string }): Promise<NatsLink> {
  const untilMs = Date.now() + firstAnswerMs;
  for (;;) {
    try {
      const nc = await connect({
        servers: url,
        name,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 50,
        timeout: 5_000,
        pingInterval: 5_000,
        maxPingOut: 2,
      });
      // JetStream may come up a little after the server
      const jsm = await jetstreamManager(nc).catch(async (cause) => {
        await nc.close();
        throw cause;
      });
      return { nc, js: jetstream(nc), jsm, close: () => nc.close() };
    } catch (cause) {
      if (Date.now() > untilMs)
        throw new MeshError(
          'STORE_UNAVAILABLE',
          `NATS at "${url}" does not answer; is nats-server running with JetStream?`,
          { url },
          { cause },
        );
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
