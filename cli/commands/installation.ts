import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Variables } from '../../providers/adapter'
import { dataFolder, readSecrets, rememberedFakes } from '../data-folder'
import { readVariables } from '../dotenv'

/** What a command knows of the installation that it is run beside. */
export interface Installation {
  /** The environment; what it lacks, as `npm start` has it in its data folder. */
  variables: Variables
  /** There is such a folder. */
  isLocal: boolean
}

/** The variables that the service of this environment, or of this clone's `npm start`, would have. */
export function readInstallation(environment: NodeJS.ProcessEnv): Installation {
  const folder = dataFolder(resolve(environment.OTPILOT_DATA_DIR || '.otpilot'))
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value))
  if (!existsSync(folder.envFile)) return { variables: given, isLocal: false }
  const made = existsSync(join(folder.path, 'secrets.json'))
    ? { SANDBOX_SECRET: readSecrets(folder).sandbox }
    : {}
  const written = { ...readVariables(folder.envFile), ...rememberedFakes(folder) }
  return { variables: { ...written, ...made, ...given }, isLocal: true }
}
