/** Plain modules: fields are parameters or modules, and the path of a parameter is its key in a checkpoint. */
import { empty, type Options } from './factories.ts';
import { embedding, layerNorm, linear, rmsNorm } from './functional.ts';
import { noGrad } from './autograd.ts';
import { keep, scope } from './scope.ts';
import { Tensor } from './tensor.ts';

let withoutMemory = false;

/** A leaf that is trained; lives until it is disposed, whatever scopes are open. */
export function parameter(shape: readonly number[], options: Options = {}): Tensor {
  if (!withoutMemory) return keep(empty(shape, options)).requiresGrad_();
  return keep(scope(() => empty([], options).expand(...shape))).requiresGrad_();
}

/** First values of a parameter that has memory. */
function initialize(set: () => void): void {
  if (!withoutMemory) noGrad(set);
}

/**
 * Modules that are made inside have parameters with a shape, but without memory and values: those come from
 * `replaceParameters`.
 */
export function outline<T extends Module>(make: () => T): T {
  const before = withoutMemory;
  withoutMemory = true;
  try {
    return make();
  } finally {
    withoutMemory = before;
  }
}

export abstract class Module {
  /** Parameters by path, e.g. `layers.0.mlp.gate_proj.weight`, in the order of the fields; a shared one once. */
  namedParameters(prefix = ''): Map<string, Tensor> {
    const found = new Map<string, Tensor>();
    const seen = new Set<Tensor>();
    const add = (path: string, each: Tensor): void => {
      if (!seen.has(each)) found.set(path, each);
      seen.add(each);
    };
    const visit = (value: unknown, path: string): void => {
      if (value instanceof Tensor) add(path, value);
      else if (value instanceof Module) for (const [key, each] of value.namedParameters(path)) add(key, each);
      else if (Array.isArray(value)) value.forEach((each, i) => visit(each, `${path}.${i}`));
    };
    for (const [name, value] of Object.entries(this)) {
      if (!name.startsWith('_')) visit(value, prefix ? `${prefix}.${name}` : name);
    }
    return found;
  }
  /**
   * Puts others in the place of the parameters, which are freed, but for those that `make` gives back; whether they are
   * trained stays as it was.
   */
  replaceParameters(make: (path: string, parameter: Tensor) => Tensor): void {
    const replaced = new Map<Tensor, Tensor>();
    const other = (path: string, each: Tensor): Tensor => {
      const known = replaced.get(each);
      if (known) return known;
      const made = keep(scope(() => noGrad(() => make(path, each)))).requiresGrad_(each.requiresGrad);
      replaced.set(each, made);
      if (made !== each) each.dispose();
      return made;
    };
    const visit = (owner: object, prefix: string): void => {
      for (const [name, value] of Object.entries(owner)) {
        if (name.startsWith('_')) continue;
        const path = prefix ? `${prefix}.${name}` : name;
        if (value instanceof Tensor) Object.assign(owner, { [name]: other(path, value) });
        else if (value instanceof Module || Array.isArray(value)) visit(value as object, path);
      }
    };
    visit(this, '');
  }
  parameters(): Tensor[] {
    return [...this.namedParameters().values()];
  }
  /** Frees every parameter and its gradient. */
  dispose(): void {
    for (const each of this.parameters()) {
      each.grad = undefined;
      each.dispose();
    }
  }
}

/** y = x W^T + b; W [out, in], uniform in +-1 / sqrt(in) at first, as in PyTorch. */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;

  constructor(inFeatures: number, outFeatures: number, { bias = true, ...options }: Options & { bias?: boolean } = {}) {
    super();
    const bound = 1 / Math.sqrt(inFeatures);
    this.weight = parameter([outFeatures, inFeatures], options);
    this.bias = bias ? parameter([outFeatures], options) : undefined;
    initialize(() => [this.weight.uniform_(-bound, bound), this.bias?.uniform_(-bound, bound)]);
  }
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/** Rows of W [vocabulary, dimension], standard normal at first. */
export class Embedding extends Module {
  readonly weight: Tensor;

  constructor(vocabulary: number, dimension: number, options: Options = {}) {
    super();
    this.weight = parameter([vocabulary, dimension], options);
    initialize(() => this.weight.normal_());
  }
  forward(indices: Tensor): Tensor {
    return embedding(this.weight, indices);
  }
}

/** x / sqrt(mean(x^2) + eps) * w over the last dimension. */
export class RMSNorm extends Module {
  readonly weight: Tensor;
  readonly eps: number;

  constructor(dimension: number, eps: number, options: Options = {}) {
    super();
    this.weight = parameter([dimension], options);
    this.eps = eps;
    initialize(() => this.weight.fill_(1));
  }
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps);
  }
}

/** (x - mean) / sqrt(var + eps) * w + b over the last dimension. */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly eps: number;

  constructor(dimension: number, eps: number, options: Options = {}) {
    super();
    this.weight = parameter([dimension], options);
    this.bias = parameter([dimension], options);
    this.eps = eps;
    initialize(() => [this.weight.fill_(1), this.bias.zero_()]);
  }
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}
