"""The description of the API in OpenAPI 3.1, made from routes and schemas; the serving processes import none of it."""
