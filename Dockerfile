# One image for every process of otpilot; docker-compose.yml says which one a container runs.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
# The workflow code is bundled once here, so that a worker needs no compiler at its start.
RUN npm run build

FROM node:24-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
COPY migrations migrations
COPY db/functions db/functions
COPY docs/runbooks docs/runbooks
COPY sandbox/page sandbox/page
# A volume that is mounted here takes over the owner, so that key file and roots can be written without root.
RUN mkdir /keys /audit && chown node:node /keys /audit && chmod 700 /keys /audit
USER node
CMD ["node", "dist/api/main.js"]
