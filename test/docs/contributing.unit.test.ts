import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { openApiDocument } from '../../api/openapi'

const pages = ['CONTRIBUTING.md', 'README.md', 'SECURITY.md', 'test/README.md']
const { license, scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  license: string
  scripts: Record<string, string>
}

describe.each(pages)('%s', (page) => {
  const text = readFileSync(page, 'utf8')

  test('names only files and folders that are there', () => {
    const quoted = [...text.matchAll(/`([\w.-]+(?:\/[\w.-]+)+)`/g)].map(([, path]) => path ?? '')
    const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => path ?? '')
    const paths = [...quoted, ...linked]
    expect(paths.length).toBeGreaterThan(0)
    const isThere = (path: string) => existsSync(path) || existsSync(join(dirname(page), path))
    expect(paths.filter((path) => !isThere(path))).toEqual([])
  })

  test('names only scripts that package.json has', () => {
    const named = [...text.matchAll(/npm (?:run )?([\w:]+)/g)].map(([, name]) => name ?? '')
    const ofNpm = ['ci', 'install', 'outdated', 'audit']
    expect(named.filter((name) => !(name in scripts) && !ofNpm.includes(name))).toEqual([])
  })
})

test('the licence is the same wherever it is named', () => {
  expect(license).toBe('Apache-2.0')
  expect(readFileSync('LICENSE', 'utf8')).toMatch(/^\s+Apache License\s+Version 2\.0/)
  expect(openApiDocument([], 'http://127.0.0.1').info.license).toMatchObject({
    identifier: license,
  })
})
