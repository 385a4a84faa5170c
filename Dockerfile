# The server of docs/serve.md: docker build -t openrouter-fallback .
FROM python:3.13-slim AS build
COPY . /source
RUN python -m venv /serve
RUN /serve/bin/python -m pip install --no-cache-dir --constraint /source/constraints.txt "/source[cli,serve,redis]"

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home serve
COPY --from=build /serve /serve
ENV PATH=/serve/bin:$PATH
WORKDIR /app
USER serve
EXPOSE 8788
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8788/healthz')"]
ENTRYPOINT ["openrouter-fallback", "serve", "--host", "0.0.0.0", "--config", "/app/fallback.yaml"]
