import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'

const root = resolve(__dirname, '..')

/** Lists everything that production runs, from the lock file, in CycloneDX form; npm itself knows how. */
const readBill = (): string => {
  const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx']
  const { status, stdout, stderr, error } = spawnSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    // npm hands its own settings on to what it runs; the bill must not depend on who asks for it.
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name))),
  })
  if (error) throw new Error(`npm cannot be run: ${error.message}`)
  if (status !== 0) throw new Error(`npm sbom failed:\n${stderr}`)
  return stdout
}

interface Bill {
  components: { 'bom-ref': string; properties?: { name: string }[] }[]
  dependencies: { ref: string; dependsOn?: string[] }[]
}

/** Without what only development needs. npm's own `--omit dev` also drops packages that development shares (npm 10). */
const forProduction = (bill: Bill): Bill => {
  const components = bill.components.filter(
    ({ properties = [] }) => !properties.some(({ name }) => name === 'cdx:npm:package:development'),
  )
  const dropped = new Set(bill.components.map((component) => component['bom-ref']))
  for (const component of components) dropped.delete(component['bom-ref'])
  const dependencies = bill.dependencies
    .filter(({ ref }) => !dropped.has(ref))
    .map(({ ref, dependsOn = [] }) => ({
      ref,
      dependsOn: dependsOn.filter((one) => !dropped.has(one)),
    }))
  return { ...bill, components, dependencies }
}

const main = (): void => {
  const [file] = process.argv.slice(2)
  if (!file) throw new Error('Name the file to write: npm run sbom -- sbom.json')
  const bill = forProduction(JSON.parse(readBill()) as Bill)
  writeFileSync(file, `${JSON.stringify(bill, null, 2)}\n`)
  console.log(`${file}: ${bill.components.length} components, CycloneDX.`)
}

try {
  main()
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
