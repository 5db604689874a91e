# syntax=docker/dockerfile:1
FROM python:3.11.12-slim-bookworm AS build
WORKDIR /src
COPY . .
# The lock pins what is installed; the test tools that it also names are not.
RUN python -m venv /opt/hearthline \
    && /opt/hearthline/bin/pip install --no-cache-dir -c requirements.lock ".[server]"

FROM python:3.11.12-slim-bookworm
RUN groupadd --gid 10001 hearthline \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin hearthline
COPY --from=build /opt/hearthline /opt/hearthline
ENV PATH=/opt/hearthline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["hearthline"]
CMD ["--help"]
