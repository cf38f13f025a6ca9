import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { dataFolder } from './data-folder'
import type { DataFolder } from './data-folder'
import { readVariables } from './dotenv'

/** What `npm start` was told, with the defaults filled in. */
export interface Settings {
  /** The environment less what an earlier start wrote into the env file itself. */
  env: NodeJS.ProcessEnv
  folder: DataFolder
  ports: Record<PortVariable, number>
  namespace: string
  urls: { api: string; sandbox: string }
}

const defaultPorts = {
  PORT: 8080,
  SANDBOX_PORT: 8081,
  TEMPORAL_PORT: 7233,
  TEMPORAL_UI_PORT: 8233,
  PGPORT: 5433,
}
export type PortVariable = keyof typeof defaultPorts

const readPorts = (env: NodeJS.ProcessEnv): Settings['ports'] => {
  const ports = { ...defaultPorts }
  const taken = new Map<number, string>()
  for (const variable of Object.keys(ports) as PortVariable[]) {
    const port = Number(env[variable] || ports[variable])
    if (!Number.isInteger(port) || port < 1 || port > 65535)
      throw new Error(`${variable} must be a port number from 1 to 65535.`)
    const other = taken.get(port)
    if (other) throw new Error(`${variable} and ${other} are both ${port}: give each its own port.`)
    taken.set(port, variable)
    ports[variable] = port
  }
  return ports
}

const givenFile = (folder: DataFolder) => join(folder.path, 'given.json')

/** Remembers which lines of the env file came from the user, who may go on saying so. */
export const rememberGiven = (folder: DataFolder, names: string[]): void =>
  writeFileSync(givenFile(folder), JSON.stringify(names))

/** Someone who loaded the env file into the shell did not mean to fix its values for the next start. */
const withoutOwnValues = (env: NodeJS.ProcessEnv, folder: DataFolder): NodeJS.ProcessEnv => {
  const given = existsSync(givenFile(folder))
    ? (JSON.parse(readFileSync(givenFile(folder), 'utf8')) as string[])
    : []
  const own = Object.entries(readVariables(folder.envFile)).filter(
    ([name, value]) => env[name] === value && !given.includes(name),
  )
  const left = { ...env }
  for (const [name] of own) delete left[name]
  return left
}

/** Reads the environment. Throws one sentence for what cannot be used. */
export const readSettings = (environment: NodeJS.ProcessEnv): Settings => {
  const folder = dataFolder(resolve(environment.OTPILOT_DATA_DIR || '.otpilot'))
  const env = withoutOwnValues(environment, folder)
  const ports = readPorts(env)
  return {
    env,
    folder,
    ports,
    namespace: env.TEMPORAL_NAMESPACE || 'default',
    urls: {
      api: env.OTPILOT_URL || `http://127.0.0.1:${ports.PORT}`,
      sandbox: env.SANDBOX_URL || `http://127.0.0.1:${ports.SANDBOX_PORT}`,
    },
  }
}
