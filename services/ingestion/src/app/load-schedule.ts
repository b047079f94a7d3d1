import type { definitions } from '@millrace/contracts';
import type { Clock } from '@millrace/kernel';
import { toMeshError } from '@millrace/kernel';
import type { RegistrySnapshot } from '@millrace/registry';
import type { Telemetry } from '@millrace/runtime';
import { Cron } from 'croner';
import type { LoadDesk } from './load-desk.ts';

type Timer = { readonly schedule: string; readonly cron: Cron };

/** Starts the batch inputs of every source when their time has come; one that still runs is not started again. */
export function createLoadSchedule(deps: {
  readonly desk: LoadDesk;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}) {
  const { desk, clock, telemetry } = deps;
  const timers = new Map<string, Timer>();
  return {
    /** Follows the definitions: schedules that came, changed or went. */
    follow({ sources }: Pick<RegistrySnapshot, 'sources'>): void {
      const wanted = new Set<string>();
      for (const [source, { spec }] of sources) {
        for (const input of spec.batchInputs) {
          if (input.schedule === '') continue;
          const key = `${source}/${input.name}`;
          wanted.add(key);
          if (timers.get(key)?.schedule !== input.schedule) plan(key, source, input);
        }
      }
      for (const [key, { cron }] of timers) {
        if (wanted.has(key)) continue;
        cron.stop();
        timers.delete(key);
      }
    },
    stop(): void {
      for (const { cron } of timers.values()) cron.stop();
      timers.clear();
    },
  };

  function plan(key: string, source: string, { name, schedule }: definitions.BatchInput): void {
    const earlier = timers.get(key);
    earlier?.cron.stop();
    const cron = new Cron(schedule, { timezone: 'UTC', unref: true }, () => void start(source, name));
    timers.set(key, { schedule, cron });
    // a time that passed while the process was away is made up for, once; a new schedule begins with its next time
    if (earlier === undefined && missed(cron, source, name)) void start(source, name);
  }

  function missed(cron: Cron, source: string, name: string): boolean {
    const lastUs = desk.lastStartUs(source, name);
    if (lastUs === undefined) return false;
    const [due] = cron.previousRuns(1, new Date(clock.nowUs() / 1000));
    return due !== undefined && due.getTime() * 1000 > lastUs;
  }

  async function start(source: string, batchInput: string): Promise<void> {
    if (desk.isBusy(source, batchInput)) return;
    try {
      await desk.startInput(source, batchInput);
    } catch (thrown) {
      const { reason, message } = toMeshError(thrown, 'the load could not be started');
      telemetry.log.warn({ event: 'load_not_started', source, input: batchInput, reason, message });
    }
  }
}
