// Sets up whatever is missing, then does what is asked: `node deploy/local/setup.mjs start|test|bench [arguments]`.
// Runs before anything is installed: Node 20, no dependency.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const [command = 'start', ...rest] = process.argv.slice(2);
const bin = join(root, 'node_modules', '.bin');

const say = (text) => process.stderr.write(`${text}\n`);

function fail(text) {
  say(`millrace: ${text}`);
  process.exit(1);
}

function onPath(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function must(step, program, args, env = {}) {
  say(`millrace: ${step} …`);
  const started = Date.now();
  const done = spawnSync(program, args, { cwd: root, stdio: ['ignore', 2, 2], env: { ...process.env, ...env } });
  if (done.error) fail(`${step}: could not run "${program}": ${done.error.message}`);
  if (done.status !== 0)
    fail(`${step}: "${program} ${args.join(' ')}" ended with ${done.status ?? done.signal}; its output is above`);
  say(`millrace: ${step}: done in ${Math.round((Date.now() - started) / 1000)} s`);
}

/** npm packages: installed when the lock file is not the one that was installed last. */
function ensurePackages() {
  const digest = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = join(root, 'node_modules', '.millrace-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest && existsSync(join(bin, 'node'))) return;
  // the CPU library of onnxruntime is inside the package; its script would download CUDA
  must('installing npm packages (about a minute)', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    ONNXRUNTIME_NODE_INSTALL: 'skip',
  });
  writeFileSync(stamp, digest);
}

/** redis-server and nats-server: from the system's packages. */
function ensureServers() {
  const missing = ['redis-server', 'nats-server'].filter((name) => !onPath(name));
  if (missing.length === 0) return;
  if (!onPath('apt-get'))
    fail(`${missing.join(' and ')} not found on the PATH; install ${missing.join(' and ')} and try again`);
  if (process.getuid?.() !== 0) {
    fail(
      `${missing.join(' and ')} not found on the PATH; install with: sudo apt-get install --no-install-recommends ${missing.join(' ')}`,
    );
  }
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  must('reading the list of system packages', 'apt-get', ['-qq', 'update'], env);
  // the packages would start a server of their own on the standard port: RUNLEVEL=1 keeps their scripts from it
  must(
    `installing ${missing.join(' and ')}`,
    'apt-get',
    ['-qq', '-y', '--no-install-recommends', 'install', ...missing],
    {
      ...env,
      RUNLEVEL: '1',
    },
  );
}

const commands = {
  start: ['deploy/local/src/main.ts'],
  test: ['test/run.ts'],
  bench: ['test/bench/run.ts'],
};

const script = commands[command];
if (!script) fail(`"${command}" is not a command; use start, test or bench`);
ensurePackages();
ensureServers();

const child = spawn(join(bin, 'node'), [...script, ...rest], {
  cwd: root,
  stdio: 'inherit',
  env: {
    ...process.env,
    PATH: [bin, process.env.PATH, '/usr/sbin', '/usr/local/sbin'].join(delimiter),
    ONNXRUNTIME_NODE_INSTALL: 'skip',
  },
});
// Ctrl-C reaches the child through the terminal; a signal sent to this process alone is passed on
let interrupted = false;
process.on('SIGINT', () => {
  if (!process.stdin.isTTY && !interrupted) child.kill('SIGINT');
  interrupted = true;
});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => process.exit(signal ? 128 + (osConstants.signals[signal] ?? 1) : (code ?? 1)));
