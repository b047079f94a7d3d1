import { health } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from './binding.ts';

const { HealthCheckResponse_ServingStatus: Status } = health;

/** grpc.health.v1: the empty name is the server; a service is what the server is. */
export class HealthState {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<() => void>();
  #serving = true;

  constructor(services: readonly string[]) {
    this.#services = new Set(['', ...services]);
  }

  setServing(serving: boolean): void {
    this.#serving = serving;
    for (const wake of this.#watchers) wake();
  }

  binding(): ServiceBinding {
    return bindService(health.HealthService, {
      check: ({ service }) => {
        if (!this.#services.has(service)) {
          throw new MeshError(
            'UNKNOWN_DEFINITION',
            `no service "${service}" here; services: ${[...this.#services].filter(Boolean).join(', ')}`,
            { service },
          );
        }
        return { status: this.#status(service) };
      },
      watch: ({ service }, { signal }) => this.#watch(service, signal),
    });
  }

  async *#watch(service: string, signal: AbortSignal): AsyncGenerator<health.HealthCheckResponse> {
    let told: health.HealthCheckResponse_ServingStatus | undefined;
    while (!signal.aborted) {
      const status = this.#status(service);
      if (status !== told) yield { status };
      told = status;
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#watchers.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#watchers.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }

  #status(service: string): health.HealthCheckResponse_ServingStatus {
    if (!this.#services.has(service)) return Status.SERVICE_UNKNOWN;
    return this.#serving ? Status.SERVING : Status.NOT_SERVING;
  }
}
