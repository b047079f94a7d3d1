export { auc, logLoss } from './quality.ts';
