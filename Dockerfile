# docker build -t edge-postgres-starter . && docker run --env-file .env.production -p 8787:8787 edge-postgres-starter
FROM node:24-slim
WORKDIR /app
ENV NODE_ENV=production
COPY --chown=node:node package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY --chown=node:node functions functions
COPY --chown=node:node src src
USER node
EXPOSE 8787
# Not through npm: SIGTERM has to reach the process that answers it.
CMD ["node", "--import", "./src/fast-imports.ts", "functions/node.ts"]
