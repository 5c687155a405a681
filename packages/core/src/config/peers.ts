/**
 * Names that other trainers have for our keys: TRL, verl, EasyR1, ms-swift, LLaMA-Factory, OpenRLHF, PEFT. They are no
 * aliases: whoever brings one is told ours, and what differs. This file imports nothing: the command line asks it
 * without the library.
 */

export interface PeerHint {
  /** Our key; unset where another thing stands for it, which the note says. */
  readonly key?: string;
  /** A word on what differs, or is needed beside it. */
  readonly note?: string;
}

const PROMPTS = 'It counts prompts of a step, all devices and accumulation together, not responses.';
const ADAPTERS = 'train.lora: {} trains adapters; without it all weights are trained.';
const REWARDS = 'A reward of your own is a module under plugins; task.weights weighs the terms of the task.';

/** Names with underscores, where needed with the section they stand in, and what they are here. */
const NAMES: readonly (readonly [names: string, hint: PeerHint])[] = [
  ['model_name_or_path model_path model_name model_id pretrain', { key: 'model' }],
  ['output_dir default_local_dir save_path save_checkpoint_path', { key: 'output' }],
  ['random_seed data_seed', { key: 'seed' }],
  ['bf16 fp16 torch_dtype dtype mixed_precision', { key: 'precision', note: 'It is float32, bfloat16 or float64.' }],

  ['train_files train_file train_dataset dataset dataset_name dataset_path data_path', { key: 'data.train' }],
  ['val_files val_file val_dataset eval_dataset validation_file', { key: 'data.validation' }],
  ['system_prompt', { key: 'data.system' }],
  ['prompt_template format_prompt', { key: 'data.prompt' }],
  ['max_prompt_length prompt_max_len', { key: 'data.maxPromptTokens', note: 'A longer prompt is refused, not cut.' }],
  [
    'cutoff_len max_seq_length max_seq_len max_length',
    { key: 'data.maxPromptTokens', note: 'Responses are not counted: rollout.maxNewTokens limits them.' },
  ],
  ['max_pixels image_max_pixels', { key: 'data.maxPixels' }],
  ['min_pixels image_min_pixels', { key: 'data.minPixels' }],

  ['num_train_epochs total_epochs num_epochs max_epochs', { key: 'epochs', note: 'It takes the place of steps.' }],
  ['max_steps total_training_steps num_train_steps', { key: 'steps' }],
  [
    'per_device_train_batch_size train_batch_size rollout_batch_size global_batch_size batch_size',
    { key: 'promptsPerStep', note: PROMPTS },
  ],
  [
    'gradient_accumulation_steps',
    { key: 'train.microBatch.prompts', note: 'A step takes promptsPerStep prompts, that many at once.' },
  ],
  [
    'ppo_micro_batch_size ppo_micro_batch_size_per_gpu micro_batch_size micro_train_batch_size',
    { key: 'train.microBatch.prompts', note: 'It counts prompts, each with all its responses.' },
  ],
  ['ppo_max_token_len_per_gpu', { key: 'train.microBatch.tokens' }],
  [
    'ppo_mini_batch_size num_iterations ppo_epochs',
    { key: 'objective.updatesPerBatch', note: 'It counts updates on a batch.' },
  ],
  ['gradient_checkpointing enable_gradient_checkpointing', { key: 'train.checkpointActivations' }],
  ['freeze_vit freeze_vision_tower freeze_vision_modules', { key: 'train.freezeVision' }],

  ['num_generations group_size rollout.n n_samples_per_prompt num_rollouts', { key: 'rollout.group' }],
  [
    'max_completion_length max_response_length max_new_tokens response_length generate_max_len',
    { key: 'rollout.maxNewTokens' },
  ],
  [
    'filter_groups dynamic_sample max_num_gen_batches',
    { key: 'rollout.dynamicSampling', note: 'It is a number of batches; 1: none.' },
  ],

  ['beta kl_coef kl_loss_coef init_kl_coef', { key: 'objective.kl.coefficient' }],
  [
    'clip_ratio cliprange cliprange_value eps_clip epsilon',
    { key: 'objective.clip.low', note: 'And objective.clip.high.' },
  ],
  ['clip_ratio_low epsilon_low eps_clip_low', { key: 'objective.clip.low' }],
  ['clip_ratio_high epsilon_high eps_clip_high', { key: 'objective.clip.high' }],
  ['loss_agg_mode loss_type', { key: 'objective.aggregate', note: 'Or name a preset, such as preset: dapo.' }],
  ['scale_rewards norm_adv_by_std_in_grpo', { key: 'objective.std', note: 'It is sample, population or none.' }],
  ['importance_sampling_level', { key: 'objective.ratio' }],
  ['mask_truncated_completions overlong_filter', { key: 'objective.truncated', note: 'It is keep or mask.' }],
  [
    'adv_estimator advantage_estimator rlhf_type grpo drgrpo dapo gspo rloo',
    { key: 'preset', note: 'It is grpo, drgrpo, dapo, gspo or rloo.' },
  ],

  ['top_p', { key: 'rollout.topP' }],
  ['top_k', { key: 'rollout.topK', note: '0 keeps all tokens.' }],
  ['lr learning_rate', { key: 'optimizer.learningRate' }],
  [
    'warmup_ratio lr_warmup_ratio lr_warmup_steps_ratio',
    { key: 'optimizer.warmupSteps', note: 'It counts steps: ratio x steps.' },
  ],
  ['warmup_steps lr_warmup_steps num_warmup_steps', { key: 'optimizer.warmupSteps' }],
  [
    'lr_scheduler_type lr_scheduler warmup_style',
    { key: 'optimizer.decay', note: 'It is linear, cosine or constant.' },
  ],
  ['max_grad_norm grad_clip clip_grad max_norm', { key: 'optimizer.clipNorm' }],
  ['adam_beta1 adam_beta2', { key: 'optimizer.betas', note: 'Both stand in one list: [0.9, 0.999].' }],
  ['optim', { key: 'optimizer.name', note: 'It is adamw or sgd.' }],

  ['lora_r lora_rank lora.r lora_config.r peft.r', { key: 'train.lora.rank' }],
  ['lora_alpha', { key: 'train.lora.alpha' }],
  ['lora_dropout', { key: 'train.lora.dropout' }],
  ['lora_target lora_target_modules target_modules', { key: 'train.lora.targets' }],
  ['use_rslora', { key: 'train.lora.rsLora' }],
  [
    'load_in_4bit bnb_4bit_quant_type quantization_bit quantization_config',
    { key: 'train.lora.quantize', note: 'It is nf4, and goes with adapters.' },
  ],
  ['use_peft use_lora finetuning_type train_type', { key: 'train.lora', note: ADAPTERS }],

  ['eval_steps test_freq val_freq', { key: 'eval.every', note: 'It counts steps.' }],
  ['save_steps save_freq', { key: 'checkpoint.every', note: 'It counts steps.' }],
  ['save_total_limit save_limit max_ckpt_to_keep', { key: 'checkpoint.keep' }],

  ['reward_funcs reward_function custom_reward_function reward_weights reward_model', { note: REWARDS }],
  ['resume_from_checkpoint resume_mode', { note: 'A run goes on with --resume on the command line.' }],
];

/** Names without what spelling adds: case, underscores and dashes. */
export const plainName = (name: string): string => name.toLowerCase().replace(/[-_]/g, '');

const HINTS = new Map(
  NAMES.flatMap(([names, hint]) => names.split(' ').map((name): [string, PeerHint] => [plainName(name), hint])),
);

/** All of them. */
export const peerNames: readonly string[] = NAMES.flatMap(([names]) => names.split(' '));

/** The meaning here of another trainer's key, told by as much of its dotted path as is known. */
export function peerHint(path: readonly string[]): PeerHint | undefined {
  const plain = path.map(plainName);
  for (let from = 0; from < plain.length; from++) {
    const found = HINTS.get(plain.slice(from).join('.'));
    if (found) return found;
  }
  return undefined;
}

/** A hint as a sentence or two. */
export const hintText = ({ key, note }: PeerHint): string =>
  [...(key === undefined ? [] : [`Did you mean ${key}?`]), ...(note === undefined ? [] : [note])].join(' ');

const PRESETS: readonly string[] = ['grpo', 'drgrpo', 'dapo', 'gspo', 'rloo'];

/** Their values of our keys. */
const VALUES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  precision: { bf16: 'bfloat16', fp32: 'float32', float: 'float32', fp64: 'float64', double: 'float64' },
  device: { gpu: 'cuda' },
};

/** The meaning here of another trainer's value of one of our keys. */
export function peerValue(key: string, value: string): string | undefined {
  const plain = plainName(value);
  if (key === 'paradigm' && PRESETS.includes(plain)) {
    return `${plain} is a variant of RLVR: paradigm: rlvr with preset: ${plain}.`;
  }
  const ours = Object.hasOwn(VALUES, key) ? VALUES[key]! : {};
  return Object.hasOwn(ours, plain) ? `Did you mean ${ours[plain]}?` : undefined;
}
