using System.Diagnostics;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary><c>sdilgpu pull</c> interrupted, twice at once, and redirected with a token.</summary>
public sealed class PullResumeTests
{
    private const string Weights = "model.safetensors";
    private const string Token = "hf_very-secret";
    private const int LargeBytes = (40 << 20) + 12345;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_cancelled_run_is_resumed_with_the_missing_bytes_alone(bool changed)
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        using var run = new PullRun(server);
        using var cancellation = new CancellationTokenSource();
        server.Misbehave = (_, reply) => reply with { Pause = TimeSpan.FromMilliseconds(1) };
        server.AfterSlice = () =>
        {
            if (server.SentBytes > 20 << 20)
            {
                cancellation.Cancel();
            }
        };
        var first = run.Run(cancellation.Token, "pull", "hf:a/b");
        Assert.Equal((130, "", "cancelled"), (first.Exit, first.Output, first.Error.Trim()));
        Assert.Equal([Weights + ".part", Weights + ".part.json"], run.Files);
        var sentBefore = server.SentBytes;
        Assert.InRange(sentBefore, 20 << 20, 30 << 20);

        // Other content under the same name begins anew.
        if (changed)
        {
            server.Files[Weights] = PullRun.Content(LargeBytes, seed: 2);
        }

        server.AfterSlice = () => { };
        server.Misbehave = (_, reply) => reply;
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(server.Files[Weights], File.ReadAllBytes(run.PathOf(Weights)));
        Assert.Equal([Weights], run.Files);
        var sent = server.SentBytes - sentBefore;
        TestContext.Current.TestOutputHelper?.WriteLine($"{sentBefore} bytes, then {sent} of {LargeBytes}");

        // The server counts what was under way to the four connections when they broke, too.
        var missing = changed ? LargeBytes : LargeBytes - sentBefore;
        Assert.InRange(sent, missing, missing + (8 << 20));
    }

    [Fact]
    public void A_damaged_state_begins_anew()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(1 << 20)));
        using var run = new PullRun(server);
        Directory.CreateDirectory(Path.GetDirectoryName(run.PathOf(Weights))!);
        File.WriteAllBytes(run.PathOf(Weights + ".part"), new byte[1 << 20]);
        foreach (var state in new[] { "", "{", "{\"Done\":[99999999],\"Size\":1048576,\"PieceBytes\":8388608}", "[]" })
        {
            File.WriteAllText(run.PathOf(Weights + ".part.json"), state);
            File.Delete(run.PathOf(Weights));
            Assert.Equal(0, run.Pull("hf:a/b").Exit);
            Assert.Equal(server.Files[Weights], File.ReadAllBytes(run.PathOf(Weights)));
        }
    }

    [Fact]
    public async Task A_killed_process_is_resumed_and_an_interrupted_one_says_130()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "sends signals with the Linux command kill");
        using var server = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        using var run = new PullRun(server);
        server.Misbehave = (_, reply) => reply with { Pause = TimeSpan.FromMilliseconds(20) };
        foreach (var (signal, exit) in new[] { ("KILL", 137), ("INT", 130) })
        {
            var before = server.SentBytes;
            using var process = Start(run, server);
            var ended = process.WaitForExitAsync(TestContext.Current.CancellationToken);

            // Long enough for a state to be written, which happens every two seconds.
            var clock = Stopwatch.StartNew();
            while (server.SentBytes == before || clock.Elapsed < TimeSpan.FromSeconds(signal == "KILL" ? 3.5 : 1.5))
            {
                Assert.False(process.HasExited, "ended before the signal");
                await Task.Delay(50, TestContext.Current.CancellationToken);
            }

            using var kill = Process.Start("kill", ["-" + signal, $"{process.Id}"]);
            await ended;
            Assert.Equal(exit, process.ExitCode);
            Assert.Equal([Weights + ".part", Weights + ".part.json"], run.Files);
        }

        var sent = server.SentBytes;
        Assert.True(sent < LargeBytes, "not interrupted");
        server.Misbehave = (_, reply) => reply;
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(server.Files[Weights], File.ReadAllBytes(run.PathOf(Weights)));
        TestContext.Current.TestOutputHelper?.WriteLine($"{sent} bytes, then {server.SentBytes - sent} of {LargeBytes}");
        Assert.True(server.SentBytes - sent < LargeBytes, "nothing was resumed");
    }

    [Fact]
    public async Task Of_two_processes_at_once_one_waits_and_finds_everything_there()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        using var run = new PullRun(server);
        server.Misbehave = (_, reply) => reply with { Pause = TimeSpan.FromMilliseconds(5) };
        using var first = Start(run, server);
        using var second = Start(run, server);
        var stop = TestContext.Current.CancellationToken;
        var outputs = await Task.WhenAll(first.StandardOutput.ReadToEndAsync(stop), second.StandardOutput.ReadToEndAsync(stop));
        await Task.WhenAll(first.WaitForExitAsync(stop), second.WaitForExitAsync(stop));
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', outputs));
        Assert.Equal((0, 0), (first.ExitCode, second.ExitCode));
        Assert.Equal(server.Files[Weights], File.ReadAllBytes(run.PathOf(Weights)));
        Assert.Equal(LargeBytes, server.SentBytes);
        Assert.Single(
            outputs, o => o.Contains("waiting for it", StringComparison.Ordinal) && o.Contains("already there", StringComparison.Ordinal));
    }

    [Fact]
    public void The_token_goes_to_the_hub_and_to_nobody_else()
    {
        using var elsewhere = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        using var hub = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        hub.Misbehave = (request, reply) => request.Path.StartsWith("/api/", StringComparison.Ordinal) ? reply
            : request.Path.StartsWith("/moved", StringComparison.Ordinal)
                ? Redirect(elsewhere.Address + request.Path["/moved".Length..], PullServer.Sha256(hub.Files[Weights]))
                : Redirect("/moved" + request.Path, null);
        using var run = new PullRun(hub);
        run.Environment["HF_TOKEN"] = Token;
        var pull = run.Pull("hf:a/b");
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        Assert.Equal(hub.Files[Weights], File.ReadAllBytes(run.PathOf(Weights)));
        Assert.All(hub.Requests, r => Assert.Equal("Bearer " + Token, r.Authorization));
        Assert.All(elsewhere.Requests, r => Assert.Null(r.Authorization));
        Assert.NotEmpty(elsewhere.Requests);
        Assert.DoesNotContain(elsewhere.Requests, r => r.Method == "HEAD");
        Assert.DoesNotContain(Token, pull.Output, StringComparison.Ordinal);

        hub.Misbehave = (_, reply) => reply with { Status = 401, Body = [] };
        var refused = run.Pull("hf:a/b");
        refused.AssertFailed(1, ["401", "token was not accepted"]);
        Assert.DoesNotContain(Token, refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void The_token_is_read_from_its_file()
    {
        using var hub = new PullServer("a/b", (Weights, PullRun.Content(100)));
        using var run = new PullRun(hub);
        using var home = new TemporaryFolder();
        File.WriteAllText(home["token"], Token + "\n");
        run.Environment["HF_HOME"] = home.Path;
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.All(hub.Requests, r => Assert.Equal("Bearer " + Token, r.Authorization));
    }

    [Fact]
    public void An_address_that_aged_is_asked_for_again()
    {
        using var elsewhere = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        using var hub = new PullServer("a/b", (Weights, PullRun.Content(LargeBytes)));
        hub.Misbehave = (request, reply) =>
            request.Path.StartsWith("/api/", StringComparison.Ordinal) ? reply : Redirect(elsewhere.Address + request.Path, null);
        var refusals = 2;
        elsewhere.Misbehave = (_, reply) => Interlocked.Decrement(ref refusals) >= 0 ? reply with { Status = 403, Body = [] } : reply;
        using var run = new PullRun(hub);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.True(hub.Requests.Count(r => r.Method == "HEAD") >= 2);
    }

    [Fact]
    public void Endless_redirects_end()
    {
        using var hub = new PullServer("a/b", (Weights, PullRun.Content(100)));
        hub.Misbehave = (request, _) => Redirect(request.Path, null);
        using var run = new PullRun(hub);
        run.Pull("hf:a/b").AssertFailed(1, ["redirects"]);
    }

    [Fact]
    public void A_redirect_to_no_address_is_told()
    {
        using var hub = new PullServer("a/b", (Weights, [1]));
        hub.Misbehave = (_, _) => Redirect("//", null);
        using var run = new PullRun(hub);
        run.Pull("hf:a/b").AssertFailed(1, ["redirects to '//', which is not an address"]);
    }

    private static PullReply Redirect(string to, string? linkedTag)
    {
        var reply = new PullReply(302, []) { Headers = { ["Location"] = to } };
        if (linkedTag is not null)
        {
            reply.Headers["X-Linked-ETag"] = $"\"{linkedTag}\"";
            reply.Headers["X-Linked-Size"] = $"{LargeBytes}";
        }

        return reply;
    }

    private static Process Start(PullRun run, PullServer server)
    {
        string[] command = OperatingSystem.IsLinux() ? ["env", "--default-signal=INT", "dotnet"] : ["dotnet"];
        var start = new ProcessStartInfo(
            command[0], [.. command[1..], Path.Combine(AppContext.BaseDirectory, "sdilgpu.dll"), "pull", "hf:a/b", "--cache", run.Cache])
        {
            RedirectStandardOutput = true,
        };
        start.Environment["HF_ENDPOINT"] = server.Address;
        start.Environment["HF_HOME"] = run.Environment["HF_HOME"];
        start.Environment.Remove("HF_TOKEN");
        return Process.Start(start)!;
    }
}
