/** Results go to stdout, progress to stderr; colours only where a person looks. */

export type Output = {
  readonly json: boolean
  readonly colour: boolean
  /** A result. */
  print(line: string): void
  /** One JSON object on one line: a result for machines. */
  object(value: unknown): void
  progress(line: string): void
}

export function createOutput(json: boolean): Output {
  return {
    json,
    colour: process.stdout.isTTY && process.env['NO_COLOR'] === undefined && !json,
    print: (line) => process.stdout.write(`${line}\n`),
    object: (value) =>
      process.stdout.write(
        `${JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? field.toString(16) : field))}\n`,
      ),
    progress: (line) => process.stderr.write(`${line}\n`),
  }
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const

export function paint(output: Output, style: keyof typeof CODES, text: string): string {
  return output.colour ? `\u001B[${CODES[style]}m${text}\u001B[0m` : text
}

const ESCAPE = new RegExp(String.raw`\u001B\[\d+m`, 'g')

/** Columns as wide as their widest cell; escape sequences count for nothing. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const visible = (cell: string): number => cell.replaceAll(ESCAPE, '').length
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, visible(cell))
  return rows.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat((widths[i] as number) - visible(cell)))
      .join('  ')
      .trimEnd(),
  )
}
