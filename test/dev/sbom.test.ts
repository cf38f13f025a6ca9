import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from '@jest/globals'

const root = resolve(__dirname, '..', '..')
const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>

test('the bill of materials holds what production runs, and nothing of development', () => {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-sbom-'))
  const file = join(folder, 'sbom.json')
  execFileSync(process.execPath, ['--import', 'tsx', 'cli/sbom.ts', file], { cwd: root })
  const { bomFormat, components } = read(file) as {
    bomFormat: string
    components: { name: string; version: string; hashes?: unknown[] }[]
  }
  rmSync(folder, { recursive: true })
  const { dependencies, devDependencies } = read(join(root, 'package.json')) as Record<
    string,
    Record<string, string>
  >
  expect(bomFormat).toBe('CycloneDX')
  const listed = components.map(({ name, version }) => `${name}@${version}`)
  expect(listed).toEqual(
    expect.arrayContaining(
      Object.entries(dependencies ?? {}).map(([name, version]) => `${name}@${version}`),
    ),
  )
  for (const name of ['jest', 'typescript', 'fast-check', 'tsx']) {
    expect(devDependencies).toHaveProperty(name)
    expect(listed.some((one) => one.startsWith(`${name}@`))).toBe(false)
  }
})
