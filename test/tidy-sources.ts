/**
 * The project's TypeScript sources as the tidy laws look at them: as written, and with comments and the insides of
 * strings and regular expressions blanked out, so that a law about code does not trip over prose. Line and column stay.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type Source = {
  /** Relative to the repository, with `/`. */
  readonly path: string
  readonly text: string
  /** `text` without comments, and with the insides of literals blanked. */
  readonly code: string
}

/** What a blanker is in. Template literals nest, because `${}` holds code again. */
type Mode = 'code' | 'line' | 'block' | 'single' | 'double' | 'template' | 'regex' | 'class'

/** After one of these a `/` begins a regular expression, not a division. */
const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else|void|delete|await|yield))\s*$/

/** Blanks what is not code. Quotes stay, so that a literal is still seen to be one. */
export function blank(text: string): string {
  const out: string[] = []
  const templates: number[] = []
  let mode: Mode = 'code'
  let depth = 0
  let recent = ''

  const put = (character: string): void => {
    out.push(character)
    recent = (recent + character).slice(-24)
  }
  const hide = (character: string): void => void out.push(character === '\n' ? '\n' : ' ')

  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? ''
    const following = text[at + 1] ?? ''
    switch (mode) {
      case 'code':
        if (character === '/' && (following === '/' || following === '*')) {
          mode = following === '/' ? 'line' : 'block'
          hide(character)
          hide(following)
          at++
        } else if (character === '/' && BEFORE_REGEX.test(recent)) {
          mode = 'regex'
          put(character)
        } else {
          if (character === "'") mode = 'single'
          else if (character === '"') mode = 'double'
          else if (character === '`') mode = 'template'
          else if (character === '{') depth++
          else if (character === '}') {
            if (templates.at(-1) === depth) {
              templates.pop()
              mode = 'template'
            } else depth--
          }
          put(character)
        }
        break
      case 'line':
        if (character === '\n') {
          mode = 'code'
          put(character)
        } else hide(character)
        break
      case 'block':
        hide(character)
        if (character === '*' && following === '/') {
          hide(following)
          at++
          mode = 'code'
        }
        break
      case 'single':
      case 'double':
      case 'template':
      case 'regex':
      case 'class':
        if (character === '\\') {
          hide(character)
          hide(following)
          at++
        } else if (mode === 'template' && character === '$' && following === '{') {
          hide(character)
          put(following)
          at++
          templates.push(depth)
          mode = 'code'
        } else if (mode === 'regex' && character === '[') {
          mode = 'class'
          hide(character)
        } else if (mode === 'class') {
          if (character === ']') mode = 'regex'
          hide(character)
        } else if (character === { single: "'", double: '"', template: '`', regex: '/' }[mode]) {
          mode = 'code'
          put(character)
        } else hide(character)
        break
      default:
        mode satisfies never
    }
  }
  return out.join('')
}

export function source(path: string, text: string): Source {
  return { path, text, code: blank(text) }
}

/** The repository that holds this compiled file: the nearest folder above with a package.json. */
export function repository(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    if (folder === dirname(folder)) throw new Error('no package.json above the compiled tests')
    folder = dirname(folder)
  }
  return folder
}

/** Every TypeScript source of the project below `root`. */
export function readSources(root: string): Source[] {
  const sources: Source[] = []
  for (const top of ['src', 'test', 'bench']) {
    if (!existsSync(join(root, top))) continue
    for (const name of readdirSync(join(root, top), { recursive: true, encoding: 'utf8' }).sort()) {
      if (!name.endsWith('.ts') || name.endsWith('.d.ts')) continue
      const path = `${top}/${name.replaceAll('\\', '/')}`
      sources.push(source(path, readFileSync(join(root, path), 'utf8')))
    }
  }
  return sources
}

/** The number of the line that holds the character at `at`. */
export function lineOf(text: string, at: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) line++
  return line
}

/** Tests and what only they use. */
export function isTest(path: string): boolean {
  return path.startsWith('test/') || path.endsWith('.test.ts') || path.endsWith('.testkit.ts')
}

/** The folder of `src/` that a file belongs to; `world/node` is a room of its own, `''` are the files of `src/`. */
export function roomOf(path: string): string | undefined {
  if (!path.startsWith('src/')) return undefined
  if (path.startsWith('src/world/node/')) return 'world/node'
  const parts = path.split('/')
  return parts.length === 2 ? '' : (parts[1] ?? '')
}

export type Import = { readonly specifier: string; readonly at: number }

/** Every module that a file names in an import or export, static or dynamic. */
export function importsOf({ text, code }: Source): Import[] {
  const found: Import[] = []
  for (const match of code.matchAll(/(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s*)(['"])/gm)) {
    const open = match.index + match[0].length
    found.push({ specifier: text.slice(open, text.indexOf(match[1] ?? '', open)), at: open })
  }
  return found
}
