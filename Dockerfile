# The server of docs/serve.md: docker build -t openrouter-fallback .
FROM python:3.13-slim
RUN useradd --uid 10001 --create-home serve
WORKDIR /app
COPY . /tmp/source
RUN python -m pip install --no-cache-dir --constraint /tmp/source/constraints.txt "/tmp/source[cli,serve,redis]" && rm -rf /tmp/source
USER serve
EXPOSE 8788
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8788/healthz')"]
ENTRYPOINT ["openrouter-fallback", "serve", "--host", "0.0.0.0", "--config", "/app/fallback.yaml"]
