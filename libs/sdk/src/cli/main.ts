import { Command, Option } from 'commander';
import { addAuditCommand } from './audit-command.ts';
import { positive } from './context.ts';
import { addContractCommand } from './contract-command.ts';
import { addDataCommands } from './data-commands.ts';
import { addDeploymentCommands } from './deployment-commands.ts';
import { addExplainCommand } from './explain-command.ts';
import { addHealthCommands } from './health-commands.ts';
import { addLineageCommand } from './lineage-command.ts';
import { addLoadCommands } from './load-commands.ts';
import { addMaterializeCommands } from './materialize-commands.ts';
import { addModelCommands } from './model-commands.ts';
import { addParityCommand } from './parity-command.ts';
import { addQualityCommand } from './quality-command.ts';
import { addQuarantineCommands } from './quarantine-commands.ts';
import { addRegistryCommands } from './registry-commands.ts';
import { addRolloutCommands } from './rollout-commands.ts';
import { addTrainingCommands } from './training-commands.ts';
import { addUsageCommand } from './usage-command.ts';

const program = new Command('millrace')
  .description('define features, publish events, read features and predictions of a running mesh')
  .option('--json', 'print one line of JSON')
  .addOption(
    new Option('--endpoints <file>', 'the endpoints file; the nearest .millrace/endpoints.json unless given').env(
      'MILLRACE_ENDPOINTS',
    ),
  )
  .option('--timeout <seconds>', 'how long a call may take', positive, 30)
  .showHelpAfterError('(try: millrace --help)');

addRegistryCommands(program);
addDataCommands(program);
addLoadCommands(program);
addHealthCommands(program);
addParityCommand(program);
addMaterializeCommands(program);
addLineageCommand(program);
addAuditCommand(program);
addQuarantineCommands(program);
addTrainingCommands(program);
addUsageCommand(program);
addQualityCommand(program);
addContractCommand(program);
addRolloutCommands(program);
addDeploymentCommands(program);
addModelCommands(program);
addExplainCommand(program);

await program.parseAsync();
