import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'
import { Client } from 'pg'
import { freePort } from '../../cli/ports'
import { findPostgres, startPostgres, stopLeftBehind } from '../../cli/postgres'
import { commandLine, isRunning, stopProcess } from '../../cli/processes'
import { startTemporal } from '../../cli/temporal'
import { findTemporal } from '../../cli/temporal-binary'
import { migrate } from '../../db/setup/migrate'
import { separateRoles } from '../../db/setup/roles'
import { workflowSources } from '../../worker/bundle'
import { asService, templateDatabase } from './template-database'

const records = join(tmpdir(), 'otpilot-tests')

/** What a test run leaves on disk while it lasts, so that a later one can clear up after a kill -9. */
interface Record {
  folder: string
  cluster: string
  temporalPid?: number
}

const say = (sentence: string) => console.error(`[test services] ${sentence}`)

/** Starts the run's one Postgres and one Temporal, and tells the test files about them through the environment. */
export const startSharedServices = async (): Promise<() => Promise<void>> => {
  await clearUpKilledRuns()
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-test-'))
  chmodSync(folder, 0o755)
  const place = findPostgres(folder)
  const record: Record = { folder, cluster: place.cluster }
  const recordFile = join(records, `${process.pid}.json`)
  const remember = () => writeFileSync(recordFile, JSON.stringify(record))
  remember()
  const stop = async () => {
    await clearUp(record)
    rmSync(recordFile, { force: true })
    if (readdirSync(records).length === 0) rmSync(records, { recursive: true })
  }
  try {
    const postgres = startPostgres(place, {
      port: await freePort(),
      logFile: join(folder, 'postgres.log'),
      // The data is thrown away, so nothing is gained by waiting for the disk.
      settings: { fsync: 'off' },
    })
    const temporal = startTemporalForTests(folder)
    const bundle = bundleWorkflows(folder)
    await Promise.allSettled([postgres, temporal, bundle])
    const { pid, address } = await temporal
    if (pid !== undefined) record.temporalPid = pid
    remember()
    const { url } = await postgres
    await makeTemplate(url)
    process.env.OTPILOT_TEST_DATABASE_URL = url
    process.env.OTPILOT_TEST_TEMPORAL_ADDRESS = address
    process.env.OTPILOT_TEST_WORKFLOW_BUNDLE = await bundle
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}

const startTemporalForTests = async (
  folder: string,
): Promise<{ pid?: number; address: string }> => {
  const choice = await findTemporal({ env: process.env, say })
  if (choice.kind === 'address') return { address: choice.address }
  return startTemporal({
    binary: choice.binary,
    port: await freePort(),
    logFile: join(folder, 'temporal.log'),
  })
}

/** Bundled once for every test file: it takes seconds. */
const bundleWorkflows = async (folder: string): Promise<string> => {
  const { code } = await bundleWorkflowCode({
    ...workflowSources,
    logger: new DefaultLogger('WARN'),
  })
  const path = join(folder, 'workflow-bundle.js')
  writeFileSync(path, code)
  return path
}

const makeTemplate = async (url: string): Promise<void> => {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query(`create database ${templateDatabase}`)
  await client.end()
  const template = new URL(url)
  template.pathname = `/${templateDatabase}`
  await separateRoles(template.href, { app: template.password })
  await migrate(template.href, asService(template.href))
}

const clearUp = async ({ folder, cluster, temporalPid }: Record): Promise<void> => {
  await stopLeftBehind(cluster)
  if (temporalPid !== undefined && commandLine(temporalPid).includes('server start-dev'))
    await stopProcess(temporalPid, 'SIGTERM', 10_000)
  for (const path of [folder, cluster]) rmSync(path, { recursive: true, force: true })
}

const clearUpKilledRuns = async (): Promise<void> => {
  mkdirSync(records, { recursive: true })
  for (const name of readdirSync(records)) {
    const file = join(records, name)
    if (isRunning(Number(name.replace('.json', ''))) || !existsSync(file)) continue
    await clearUp(JSON.parse(readFileSync(file, 'utf8')) as Record)
    rmSync(file, { force: true })
  }
}
