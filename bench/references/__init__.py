"""What the platform is measured against, written as one would write it who has only that to do.

==================  =================================================================================
``bare_asgi``       a POST with a small JSON body on the same ASGI server: the floor of an API process
``textbook``        FastAPI, Pydantic, a Redis call per check, a Dramatiq message and a transaction per order
``nginx``           nginx alone: ``return 200`` and a static file
``bare_sql``        the same rows straight into PostgreSQL, by ``unnest`` and by COPY
``lua_claim``       a Lua claim by a flood of EVALSHA
``composition``     ASGI, a pipelined script, a batch consumer: sells and journals, without identity, replay
                    and ledger entries
==================  =================================================================================
"""
