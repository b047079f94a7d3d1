import { allNodes, type OnnxModel } from './model.ts';
import { mlDomain, modelField } from './schema.ts';

/**
 * Operators whose work, and the sizes of whose outputs, follow from the sizes of their inputs alone. Not among them are those that run graphs of their own
 * (If, Loop, Scan), and those whose outputs are as large as values say (Range, Expand, Tile, ConstantOfShape, NonZero, Resize …).
 */
const told: Readonly<Record<string, ReadonlySet<string>>> = {
  '': new Set([
    ...['Identity', 'Cast', 'Constant', 'Dropout', 'Flatten', 'Reshape', 'Squeeze', 'Unsqueeze', 'Transpose', 'Concat'],
    ...['Add', 'Sub', 'Mul', 'Div', 'Neg', 'Abs', 'Sqrt', 'Reciprocal', 'Exp', 'Log', 'Pow', 'Erf', 'Sign', 'Floor'],
    ...['Ceil', 'Round', 'Clip', 'Min', 'Max', 'Sum', 'Mean', 'Where', 'Equal', 'Less', 'LessOrEqual', 'Greater'],
    ...['GreaterOrEqual', 'And', 'Or', 'Not', 'IsNaN', 'IsInf', 'ArgMax', 'ArgMin', 'Gather', 'Split'],
    ...['MatMul', 'Gemm', 'MatMulInteger', 'QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear'],
    ...['Relu', 'LeakyRelu', 'PRelu', 'Elu', 'Selu', 'Celu', 'Gelu', 'Sigmoid', 'HardSigmoid', 'HardSwish', 'Mish'],
    ...['Tanh', 'Softplus', 'Softsign', 'Softmax', 'LogSoftmax', 'BatchNormalization', 'LayerNormalization'],
    ...['ReduceMax', 'ReduceMin', 'ReduceMean', 'ReduceSum', 'ReduceProd', 'ReduceL1', 'ReduceL2', 'ReduceLogSumExp'],
  ]),
  [mlDomain]: new Set([
    ...['ArrayFeatureExtractor', 'Binarizer', 'FeatureVectorizer', 'Imputer', 'LabelEncoder', 'LinearClassifier'],
    ...['LinearRegressor', 'Normalizer', 'OneHotEncoder', 'Scaler', 'SVMClassifier', 'SVMRegressor'],
    ...['TreeEnsemble', 'TreeEnsembleClassifier', 'TreeEnsembleRegressor', 'ZipMap'],
  ]),
};

/**
 * The type of a node whose work the shapes of the model's inputs do not tell; undefined when a run of a shape costs what another of that shape did. A model with functions
 * of its own has none that is known.
 */
export function operatorOfUnknownWork(model: OnnxModel): string | undefined {
  if (model.fields.some(({ number }) => number === modelField.functions)) return 'function';
  for (const { domain, opType } of allNodes(model.graph)) if (!told[domain]?.has(opType)) return opType;
  return undefined;
}
