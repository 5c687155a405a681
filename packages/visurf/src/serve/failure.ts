/** Answers to requests that cannot be served, in OpenAI's form. */

export type Status = 400 | 401 | 403 | 404 | 413 | 429 | 500 | 503 | 504;

const TYPES: Readonly<Record<Status, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'invalid_request_error',
  429: 'rate_limit_error',
  500: 'server_error',
  503: 'server_error',
  504: 'timeout_error',
};

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: Status;
  /** Field of the request that is at fault. */
  readonly param: string | undefined;

  constructor(status: Status, message: string, param?: string) {
    super(message);
    [this.status, this.param] = [status, param];
  }
}

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export function errorBody({ status, message, param }: Refusal): ErrorBody {
  const code = status === 404 ? 'not_found' : null;
  return { error: { message, type: TYPES[status], param: param ?? null, code } };
}

/** Known by its name: the library is loaded when the command runs. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof Error && error.name === 'UserError') return new Refusal(400, error.message);
  return new Refusal(500, 'the model failed to answer; the server says why');
}
