// Regenerates libs/contracts/src/gen from proto/: `npm run generate`. The result is committed; a test regenerates and diffs it.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, '..', 'libs', 'contracts', 'src', 'gen');
const buf = (...args) =>
  execFileSync(join(here, '..', 'node_modules', '.bin', 'buf'), args, { cwd: here, stdio: 'inherit' });

const template = JSON.stringify({
  version: 'v2',
  clean: true,
  plugins: [
    {
      local: join(here, '..', 'node_modules', '.bin', 'protoc-gen-ts_proto'),
      out,
      opt: [
        'outputServices=grpc-js',
        'env=node',
        'esModuleInterop=true',
        'importSuffix=.ts',
        'enumsAsLiterals=true',
        'removeEnumPrefix=true',
        'unrecognizedEnum=false',
        'oneof=unions-value',
        'forceLong=bigint',
        'useDate=false',
        'useMapType=true',
        'outputJsonMethods=false',
        'useExactTypes=false',
        'exportCommonSymbols=false',
        'outputIndex=false',
        'annotateFilesWithVersion=false',
      ],
    },
  ],
});
buf('generate', '--template', template, '--include-imports');
// Feast has a message named Map, which hides the language's own in its file
const feastValues = join(out, 'feast', 'types', 'Value.ts');
const generated = readFileSync(feastValues, 'utf8');
writeFileSync(feastValues, generated.replaceAll(/\bMap(?=<string|\(\))/g, 'globalThis.Map'));
// for gRPC server reflection
buf('build', '-o', join(out, 'descriptors.binpb'));
