import { holderOf } from './data-folder'
import { isFree } from './ports'
import { describePostgres } from './postgres'
import type { PortVariable, Settings } from './settings'
import { describeTemporal } from './temporal-binary'

/** Which of the ports this start would listen on: none for what is used from elsewhere. */
export const neededPorts = ({ env, ports }: Settings): Partial<Settings['ports']> => {
  const { PORT, SANDBOX_PORT, TEMPORAL_PORT, TEMPORAL_UI_PORT, PGPORT } = ports
  return {
    PORT,
    SANDBOX_PORT,
    ...(!env.TEMPORAL_ADDRESS && { TEMPORAL_PORT, TEMPORAL_UI_PORT }),
    ...(!env.DATABASE_URL && { PGPORT }),
  }
}

/** `npm start -- --check`: what a start would use, without starting or changing anything. */
export const describeStart = async (settings: Settings): Promise<string> => {
  const { env, folder } = settings
  const holder = holderOf(folder)
  const needed = Object.entries(neededPorts(settings)) as [PortVariable, number][]
  const ports = await Promise.all(
    needed.map(
      async ([variable, port]) => `${variable} ${port} ${(await isFree(port)) ? 'free' : 'in use'}`,
    ),
  )
  return [
    `Node        ${process.versions.node}, ${process.execPath}`,
    `Postgres    ${env.DATABASE_URL ? 'the server that DATABASE_URL names' : describePostgres(folder.path)}`,
    `Temporal    ${describeTemporal(env)}`,
    `Ports       ${ports.join(', ')}`,
    `Data folder ${folder.path}${holder === undefined ? '' : `, where otpilot runs now (pid ${holder})`}`,
  ].join('\n')
}
