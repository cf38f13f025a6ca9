import { openKeyFile } from './key-file'

/**
 * The keyring of a process; warns once while the file cannot be read again.
 * @throws as {@link openKeyFile} does.
 */
export const openKeys = (
  { keysFile, isProduction }: { keysFile: string; isProduction: boolean },
  log: { warn(fields: object, sentence: string): void },
) =>
  openKeyFile(keysFile, {
    strict: isProduction,
    onFault: ({ message }) =>
      log.warn(
        { reason: message },
        'the key file cannot be read again: its last good reading stays in use',
      ),
  })
