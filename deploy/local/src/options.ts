import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';

/** What `npm start -- …` was asked to do. */
export interface StartOptions {
  /** Runs the replay to its end, prints one JSON summary as the last line and stops. */
  readonly once: boolean;
  /** Days of flights to replay. */
  readonly days: number;
  /** The first day that is replayed, UTC. */
  readonly from: string;
  /** Days before it that are loaded as history. */
  readonly historyDays: number;
  /** Events a second to replay at. */
  readonly rate: number;
  /** Starts the mesh with nothing in it and replays nothing. */
  readonly empty: boolean;
  /** Wipes the data folder first. */
  readonly fresh: boolean;
  readonly dataDir: string;
  /** The first port; services and stores take the ones after it. 0: any free ports. */
  readonly basePort: number;
  /** The share of predictions whose values are compared with history. */
  readonly paritySample: number;
  readonly otlpEndpoint: string | undefined;
}

const root = resolve(import.meta.dirname, '..', '..', '..');

export function parseOptions(argv: readonly string[]): StartOptions {
  const program = new Command('npm start --')
    .description('run the whole mesh on this machine and replay real flights through it')
    .option('--once', 'run the replay to its end, print one JSON summary and stop', false)
    .option('--days <n>', 'days of flights to replay', positive, 2)
    .option('--from <date>', 'the first day that is replayed, 2001-01-09 to 2001-06-29', '2001-04-02')
    .option('--history-days <n>', 'days before it that are loaded as history', positive, 8)
    .option('--rate <n>', 'events a second', positive, 2600)
    .option('--empty', 'replay nothing: a mesh for your own data', false)
    .option('--fresh', 'wipe the data folder first', false)
    .option('--data-dir <folder>', 'where everything is kept', process.env.MILLRACE_DIR ?? join(root, '.millrace'))
    .option(
      '--base-port <port>',
      'the first of some twenty ports; 0: any free ones',
      port,
      Number(process.env.MILLRACE_BASE_PORT ?? 7700),
    )
    .option('--parity-sample <share>', 'the share of predictions whose values are compared with history', share, 0.02)
    .option('--otlp-endpoint <url>', 'where traces go, as http://127.0.0.1:4318', process.env.MILLRACE_OTLP_ENDPOINT)
    .showHelpAfterError('(try: npm start -- --help)');
  program.parse([...argv], { from: 'user' });
  const options = program.opts<StartOptions>();
  if (Number.isNaN(Date.parse(`${options.from}T00:00:00Z`)))
    program.error(`error: "${options.from}" is not a date; write it as 2001-04-02`);
  if (options.empty && options.once)
    program.error('error: --once runs a replay to its end and --empty has none; leave one of them out');
  return { ...options, dataDir: resolve(options.dataDir) };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('write a number above 0');
  return value;
}

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_000)
    throw new InvalidArgumentError('write a port from 0 to 65000');
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError('write a share from 0 to 1');
  return value;
}
