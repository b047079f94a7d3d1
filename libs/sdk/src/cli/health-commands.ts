import { once } from 'node:events';
import { connect } from 'node:net';
import Table from 'cli-table3';
import type { Command } from 'commander';
import type { Endpoints } from '../endpoints.ts';
import { type CommonOptions, printJson, viewStateName, withServices } from './context.ts';
import { isRunning, materializationRecord, materializationText } from './materialize-commands.ts';
import { verifierText } from './parity-command.ts';

export function addHealthCommands(program: Command): void {
  program
    .command('status')
    .description('how far every source and view has come')
    .action((_options, command: Command) => status(command.optsWithGlobals()));
  program
    .command('doctor')
    .description('check that everything answers, and say what to do about what does not')
    .action((_options, command: Command) => doctor(command.optsWithGlobals()));
}

async function status(options: CommonOptions): Promise<void> {
  await withServices(options, async (services) => {
    const [{ sources }, state, { materializations }] = await Promise.all([
      services.ingestion().getProgress({ source: '' }),
      services.compute().getStatus({}),
      services.materialize().listMaterializations({ id: '' }),
    ]);
    const working = materializations.filter(isRunning);
    if (options.json) {
      return printJson({
        sources,
        materializations: working.map(materializationRecord),
        compute: { ...state, views: state.views.map((view) => ({ ...view, state: viewStateName(view.state) })) },
      });
    }
    const sourceTable = new Table({
      head: ['source', 'events', 'in history', 'frontier', 'duplicates', 'quarantined'],
      style: { head: [], border: [] },
    });
    for (const source of sources) {
      sourceTable.push([
        source.source,
        String(source.accepted),
        String(source.historyEvents),
        timeText(source.frontierUs),
        String(source.duplicates),
        String(source.quarantined),
      ]);
    }
    const viewTable = new Table({
      head: ['view', 'version', 'state', 'entities', 'late dropped'],
      style: { head: [], border: [] },
    });
    for (const view of state.views) {
      const progress = viewStateName(view.state) === 'WARMING' ? ` ${Math.round(view.backfillProgress * 100)} %` : '';
      viewTable.push([
        view.view,
        view.version,
        `${viewStateName(view.state)}${progress}${view.error ? `: ${view.error}` : ''}`,
        String(view.entities),
        String(view.lateDropped),
      ]);
    }
    process.stdout.write(`${sourceTable.toString()}\n${viewTable.toString()}\n`);
    process.stdout.write(
      `stream position ${state.streamPosition}, rows at ${state.rowPosition}, checkpoint at ${state.checkpointPosition}; ` +
        `parity: ${state.parityCompared} compared, ${state.parityMismatched} mismatched\n`,
    );
    for (const job of working) process.stdout.write(`${materializationText(job)}\n`);
    if (state.verifier) process.stdout.write(`${verifierText(state.verifier)}\n`);
  });
}

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

async function doctor(options: CommonOptions): Promise<void> {
  await withServices(options, async (services) => {
    const endpoints = services.endpoints();
    const checks = await Promise.all([
      ...Object.entries(endpoints.services).map(([name, { http }]) =>
        checkHttp(name, `http://${http}/health/ready`, `look at .millrace/logs/${name}.log`),
      ),
      ...storeChecks(endpoints),
      check(
        'registry',
        async () => `${(await services.registry().listDefinitions({ kind: 0 })).registered.length} definitions`,
      ),
      check('compute is up to date', async () => {
        const { streamPosition, rowPosition } = await services.compute().getStatus({});
        return `${streamPosition - rowPosition} messages behind`;
      }),
    ]);
    if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
    if (options.json) return printJson({ ok: process.exitCode !== 1, checks });
    for (const { name, ok, detail } of checks) process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${name}: ${detail}\n`);
  });
}

function storeChecks({ stores }: Endpoints): Promise<Check>[] {
  return [
    checkHttp('clickhouse', `${stores.clickhouse}/ping`, 'look at .millrace/logs/clickhouse.log'),
    checkPort('redis', stores.redis, 'look at .millrace/logs/redis.log'),
    checkPort('nats', stores.nats, 'look at .millrace/logs/nats.log'),
  ];
}

const probeTimeoutMs = 5_000;

async function checkHttp(name: string, url: string, remedy: string): Promise<Check> {
  return check(name, async () => {
    const response = await fetch(url, { signal: AbortSignal.timeout(probeTimeoutMs) }).catch((cause: unknown) => {
      throw new Error(`${url} does not answer; ${remedy}`, { cause });
    });
    if (!response.ok) throw new Error(`${url} answered ${response.status}; ${remedy}`);
    return `answers at ${url}`;
  });
}

/** Redis and NATS: whether something takes connections; the services behind them say whether it is the right thing. */
async function checkPort(name: string, url: string, remedy: string): Promise<Check> {
  return check(name, async () => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(probeTimeoutMs) });
    } catch (cause) {
      throw new Error(`${url} does not answer; ${remedy}`, { cause });
    } finally {
      socket.destroy();
    }
    return `takes connections at ${url}`;
  });
}

async function check(name: string, probe: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await probe() };
  } catch (thrown) {
    return { name, ok: false, detail: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

function timeText(us: bigint): string {
  return us === 0n ? '' : new Date(Number(us / 1000n)).toISOString();
}
