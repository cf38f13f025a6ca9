import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from '@jest/globals'

const root = resolve(__dirname, '..', '..')
const page = readFileSync(join(root, 'docs', 'security.md'), 'utf8')

/** Files and folders of ours that the page names. */
const named = [...page.matchAll(/`([a-z]+\/[A-Za-z0-9/_.-]*)`/g)].map(([, path = '']) => path)

describe('docs/security.md', () => {
  test('names only what is there', () => {
    expect(named.length).toBeGreaterThan(80)
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([])
  })

  test('has every row that was asked for', () => {
    const rows = page
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .flatMap((line) => (line.split('|')[1] ?? '').split(','))
      .map((cell) => cell.trim())
    const wanted = Object.entries({ A: 19, B: 11, E: 11, F: 8 }).flatMap(([table, count]) =>
      Array.from({ length: count }, (_, index) => `${table}${index + 1}`),
    )
    expect(wanted.filter((row) => !rows.includes(row))).toEqual([])
  })
})
