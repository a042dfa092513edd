/** Columns for people: as wide as their widest cell, numbers to the right, the least important left out where it is narrow. */
import type { Output, Style } from './output.ts'
import { paint } from './output.ts'

export type Column = {
  readonly title: string
  readonly right?: boolean
  /** Columns with the highest number are left out first; 0 always stays. */
  readonly leaveOut: number
}
export type Cell = { readonly text: string; readonly style?: Style }
/** A row may end in a remark that takes the place of its remaining cells. */
export type Row = { readonly cells: readonly Cell[]; readonly remark?: Cell }

const GAP = 2

export function table(output: Output, columns: readonly Column[], rows: readonly Row[]): string[] {
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...rows.map((row) => row.cells[i]?.text.length ?? 0)),
  )
  const shown = fitting(columns, widths, output.columns)
  const titles: Row = { cells: columns.map(({ title }) => ({ text: title, style: 'dim' })) }
  return [titles, ...rows].map((row) => {
    const parts = shown
      .filter((i) => i < row.cells.length)
      .map((i) => {
        const { text, style } = row.cells[i] as Cell
        const padding = ' '.repeat((widths[i] as number) - text.length)
        const painted = style === undefined ? text : paint(output, style, text)
        return columns[i]?.right === true ? padding + painted : painted + padding
      })
    if (row.remark !== undefined) parts.push(paint(output, row.remark.style ?? 'dim', row.remark.text))
    return parts.join(' '.repeat(GAP)).trimEnd()
  })
}

/** Indices of the columns that fit. */
function fitting(columns: readonly Column[], widths: readonly number[], limit: number | undefined): number[] {
  let shown = columns.map((_, i) => i)
  if (limit === undefined) return shown
  const width = (): number => shown.reduce((sum, i) => sum + (widths[i] as number) + GAP, -GAP)
  while (width() > limit) {
    const least = Math.max(...shown.map((i) => (columns[i] as Column).leaveOut))
    if (least === 0) break
    shown = shown.filter((i) => (columns[i] as Column).leaveOut !== least)
  }
  return shown
}
