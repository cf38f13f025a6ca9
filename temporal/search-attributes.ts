import type { Connection } from '@temporalio/client'
import { searchAttributes } from '../core/requests/search-attributes'
import { grpc, grpcCodeOf } from './temporal-error'

/** Temporal's number for the type "Keyword". */
const keyword = 2

/** Makes our search attributes known to a namespace; harmless when they are, or when another process is faster. */
export async function registerSearchAttributes(
  connection: Connection,
  namespace: string,
): Promise<void> {
  const known = await connection.operatorService.listSearchAttributes({ namespace })
  const missing = Object.values(searchAttributes).filter(
    ({ name }) => !known.customAttributes?.[name],
  )
  if (missing.length === 0) return
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map(({ name }) => [name, keyword])),
    })
  } catch (error) {
    if (grpcCodeOf(error) !== grpc.alreadyExists) throw error
  }
}
