import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { readmeSession, shellBlocks } from '../readme/blocks'

const root = resolve(__dirname, '..', '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const readme = read('README.md')

const listMarkdown = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => join(folder, name))
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...['docs', 'deploy', 'examples', 'bench'].flatMap(listMarkdown),
]

/** GitHub's anchors: lower case, blanks to hyphens, nothing but letters, digits, hyphens. */
const anchorsOf = (markdown: string): string[] =>
  [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\d\s_-]/gu, '')
      .replace(/\s/g, '-'),
  )

describe('the README', () => {
  test('has shell blocks that a POSIX shell can parse', () => {
    for (const block of shellBlocks(readme)) {
      const { status, stderr } = spawnSync('/bin/sh', ['-n', '-c', block], { encoding: 'utf8' })
      expect({ block, status, stderr }).toEqual({ block, status: 0, stderr: '' })
    }
  })

  test('starts with what it is, the two commands, a send, a check and the silent number', () => {
    const firstScreen = readme.slice(0, readme.indexOf('## '))
    const { start, pasted } = readmeSession(firstScreen)
    expect(start).toBe('npm start\n')
    expect(shellBlocks(firstScreen)).toContain('npm test\n')
    expect(pasted).toHaveLength(3)
    expect(pasted[0]).toMatch(/^\. \.otpilot\/env\n[^]*\/otp\/send/)
    expect(pasted[1]).toMatch(/\/otp\/verify/)
    expect(pasted[2]).toMatch(/\+233555000001[^]*sleep 35/)
    expect(firstScreen).toMatch(/docs\/images\/phone\.png[^]*docs\/images\/temporal-ui\.png/)
  })

  test('tells the flow in six lines', () => {
    const [, flow = ''] = /^```\n([\s\S]*?)^```$/m.exec(readme) ?? []
    expect(flow.trimEnd().split('\n')).toHaveLength(6)
  })

  test('has pictures that a page loads at once', () => {
    for (const name of ['phone.png', 'temporal-ui.png'])
      expect(statSync(join(root, 'docs/images', name)).size).toBeLessThan(250 * 1024)
  })
})

describe.each(pages)('%s', (page) => {
  const markdown = read(page)

  test('links to files and headings that exist', () => {
    const links = [...markdown.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, link = '']) => link)
    const broken = links.filter((link) => {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? join(root, page) : resolve(root, dirname(page), path)
      if (!existsSync(target)) return true
      return anchor !== undefined && !anchorsOf(readFileSync(target, 'utf8')).includes(anchor)
    })
    expect(broken).toEqual([])
  })

  test('names files and scripts that exist', () => {
    const folders = readdirSync(root, { withFileTypes: true })
      .filter(
        (entry) => entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'dist',
      )
      .map(({ name }) => name)
    const named = [...markdown.matchAll(/`((?:[\w.-]+\/)+[\w.-]*)(?: [^`]*)?`/g)].map(
      ([, path = '']) => path,
    )
    const ours = named.filter((path) => folders.includes(path.split('/')[0] ?? ''))
    const missing = ours.filter(
      (path) => !existsSync(join(root, path)) && !existsSync(join(root, dirname(page), path)),
    )
    expect(missing.map((path) => relative('.', path))).toEqual([])
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const run = [...markdown.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name)
    expect(run.filter((name) => !(name in scripts))).toEqual([])
  })
})
