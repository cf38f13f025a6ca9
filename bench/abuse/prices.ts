import type { CostTable } from '../../core/routing/cost'

/** What an SMS costs in the simulator, in US dollars: of the size of published rates, nobody's in particular. */
export const prices: CostTable = {
  currency: 'USD',
  prices: [
    ...Object.entries({
      ...{ GH: '0.021', NG: '0.019', KE: '0.018', CI: '0.062', GB: '0.044', US: '0.009' },
      ...{ DE: '0.096', IN: '0.032', BD: '0.19', UZ: '0.18', TJ: '0.24', KG: '0.19', AZ: '0.31' },
      ...{ PK: '0.21', LK: '0.22', ID: '0.29', PH: '0.14', MM: '0.22', IQ: '0.26', YE: '0.14' },
      ...{ TN: '0.25', DZ: '0.21', LY: '0.20', MA: '0.13', SN: '0.12', ML: '0.16', CU: '0.12' },
    }).map(([to, amount]) => ({ channel: 'sms' as const, to, amount })),
    { channel: 'sms', amount: '0.11' },
  ],
}
