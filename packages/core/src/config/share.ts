/** The share of the training samples that `data.validation` holds out, such as `10%`; undefined where it names a file. */
export const shareOf = (validation: string | undefined): number | undefined => {
  const percent = /^\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(validation ?? '')?.[1];
  return percent === undefined ? undefined : Number(percent) / 100;
};
