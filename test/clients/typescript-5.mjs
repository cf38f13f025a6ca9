// openapi-typescript writes its types with an interface of TypeScript that version 7 does not have: whatever is loaded
// after this gets version 5 for `typescript`.
import { registerHooks } from 'node:module'

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier === 'typescript' ? 'typescript-5' : specifier, context),
})
