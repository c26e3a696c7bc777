namespace Intercommunalite.Testing;

/// <summary>
/// The PostgreSQL and RabbitMQ servers that the tests share, as <c>deploy/test</c> puts them into the environment.
/// </summary>
public static class TestServers
{
    /// <summary>
    /// Npgsql connection string of a role that may create databases (variable <c>POSTGRES</c>).
    /// </summary>
    /// <exception cref="InvalidOperationException">The variable is not set.</exception>
    public static string Postgres => Required("POSTGRES");

    /// <summary>
    /// AMQP URI of an administrator on the virtual host <c>/</c> (variable <c>RABBITMQ</c>).
    /// </summary>
    /// <exception cref="InvalidOperationException">The variable is not set.</exception>
    public static Uri RabbitMq => new(Required("RABBITMQ"));

    /// <summary>
    /// Base URL of RabbitMQ's management API, for the same administrator (variable <c>RABBITMQ_MANAGEMENT</c>).
    /// </summary>
    /// <exception cref="InvalidOperationException">The variable is not set.</exception>
    public static Uri RabbitMqManagement => new(Required("RABBITMQ_MANAGEMENT"));

    private static string Required(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value
            ? value
            : throw new InvalidOperationException($"{variable} is not set: run the tests with deploy/test.");
}
