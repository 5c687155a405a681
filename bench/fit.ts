/** Least squares with a polynomial. */

/**
 * Coefficients c of the polynomial c[0] + c[1] x + ... of a degree that is closest to the points in relative terms
 * (errors are divided by y).
 */
export function fitPolynomial(xs: readonly number[], ys: readonly number[], degree: number): number[] {
  const size = degree + 1;
  const rows = xs.map((x, i) => Array.from({ length: size }, (_, k) => x ** k / ys[i]!));
  // Normal equations, with the right-hand side (ones: y / y) as the last column.
  const matrix = Array.from({ length: size }, (_, i) => [
    ...Array.from({ length: size }, (_, j) => rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0)),
    rows.reduce((sum, row) => sum + row[i]!, 0),
  ]);
  for (let i = 0; i < size; i++) {
    const rest = matrix.slice(i);
    const pivot = rest.reduce((best, row) => (Math.abs(row[i]!) > Math.abs(best[i]!) ? row : best));
    const place = matrix.indexOf(pivot);
    [matrix[i], matrix[place]] = [pivot, matrix[i]!];
    for (const row of matrix) {
      if (row === pivot) continue;
      const factor = row[i]! / pivot[i]!;
      for (let j = i; j <= size; j++) row[j]! -= factor * pivot[j]!;
    }
  }
  return matrix.map((row, i) => row[size]! / row[i]!);
}

export const evaluate = (coefficients: readonly number[], x: number): number =>
  coefficients.reduceRight((sum, each) => sum * x + each, 0);
