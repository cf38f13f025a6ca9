import { roles } from '../../db/setup/roles'

export const templateDatabase = 'otpilot_template'

/** The same database as the service's role sees it; in tests it has the superuser's password. */
export const asService = (superuserUrl: string): string => {
  const url = new URL(superuserUrl)
  url.username = roles.app
  return url.href
}
