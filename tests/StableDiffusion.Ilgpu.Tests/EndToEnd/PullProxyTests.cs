using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>
/// <c>sdilgpu pull</c> through a proxy, as a process of its own: the environment's proxies are read once a process. The hub's name is
/// one that no resolver knows (RFC 2606), so whoever reaches it came through the proxy.
/// </summary>
public sealed class PullProxyTests : IDisposable
{
    private const string Hub = "hub.invalid", Weights = "model.safetensors";

    private static readonly string[] Variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

    private readonly TemporaryFolder folder = new();
    private readonly PullServer server = new("a/b", (Weights, PullRun.Content(300_000)));

    [Theory]
    [InlineData("HTTP_PROXY")]
    [InlineData("http_proxy")]
    [InlineData("ALL_PROXY")]
    public async Task Everything_goes_through_the_proxy(string variable)
    {
        var run = await PullAsync($"http://{Hub}", (variable, server.Address));
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Contains("SHA-256 verified", run.Output, StringComparison.Ordinal);
        Assert.Equal(server.Files[Weights], File.ReadAllBytes(Path.Combine(folder["cache"], "hub", "a", "b", "main", Weights)));
        Assert.All(server.Requests, r => Assert.Equal(Hub, r.Authority));
        Assert.True(server.Requests.Count >= 2);
    }

    /// <summary>A tunnel is asked for; this proxy gives none, so nothing of the transfer itself is seen here.</summary>
    [Fact]
    public async Task A_hub_behind_TLS_is_reached_by_a_tunnel()
    {
        var run = await PullAsync($"https://{Hub}", ("HTTPS_PROXY", server.Address));
        run.AssertFailed(1, ["a/b"]);
        Assert.NotEmpty(server.Requests);
        Assert.All(server.Requests, r => Assert.Equal(("CONNECT", $"{Hub}:443", null), (r.Method, r.Authority, r.Authorization)));
    }

    [Fact]
    public async Task A_hub_that_NO_PROXY_names_is_asked_directly()
    {
        var run = await PullAsync($"http://{Hub}", ("HTTP_PROXY", server.Address), ("NO_PROXY", Hub));
        run.AssertFailed(1, ["a/b"]);
        Assert.Empty(server.Requests);
    }

    public void Dispose()
    {
        server.Dispose();
        folder.Dispose();
    }

    private async Task<CliRun> PullAsync(string hub, params (string Name, string Value)[] variables)
    {
        // In Windows both cases are one variable.
        var environment = new Dictionary<string, string?>(OperatingSystem.IsWindows() ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal);
        foreach (var name in Variables.SelectMany(v => new[] { v, v.ToLowerInvariant() }))
        {
            environment[name] = null;
        }

        environment["HF_ENDPOINT"] = hub;
        environment["HF_HOME"] = folder["none"];
        foreach (var (name, value) in variables)
        {
            environment[name] = value;
        }

        var run = await CliRun.InChildProcess(["pull", "hf:a/b", "--cache", folder["cache"]], environment: environment);
        TestContext.Current.TestOutputHelper?.WriteLine(run.Output + run.Error);
        return run;
    }
}
