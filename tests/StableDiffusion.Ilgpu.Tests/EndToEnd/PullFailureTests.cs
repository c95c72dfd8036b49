using System.Diagnostics;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary><c>sdilgpu pull</c> where something goes wrong: one line, and nothing half-written under a final name.</summary>
public sealed class PullFailureTests
{
    private const string Weights = "model.safetensors";
    private const int LargeBytes = (20 << 20) + 12345;

    [Fact]
    public void Dropped_connections_are_taken_up_where_they_broke()
    {
        var content = PullRun.Content(LargeBytes);
        using var server = new PullServer("a/b", (Weights, content));
        server.Misbehave = (request, reply) => request.IsFetch ? reply with { CutAfter = 3 << 20 } : reply;
        using var run = new PullRun(server);
        var pull = run.Pull("hf:a/b");
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        Assert.Equal(content, File.ReadAllBytes(run.PathOf(Weights)));
        AssertFetched(LargeBytes, server.SentBytes);
    }

    [Fact]
    public void A_server_that_gives_nothing_more_is_given_up_and_what_came_is_kept()
    {
        var content = PullRun.Content(LargeBytes);
        using var server = new PullServer("a/b", (Weights, content));
        server.Misbehave = (request, reply) => request.IsFetch && request.Range!.Value.From > 0 ? reply with { CutAfter = 0 } : reply;
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, [Weights, "(5 tries)"]);
        Assert.DoesNotContain(Weights, run.Files);
        var before = server.SentBytes;
        server.Misbehave = (_, reply) => reply;
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(content, File.ReadAllBytes(run.PathOf(Weights)));
        AssertFetched(LargeBytes - (8 << 20), server.SentBytes - before);
    }

    [Fact]
    public void A_dropped_connection_without_ranges_begins_anew()
    {
        var content = PullRun.Content(1 << 20);
        using var server = new PullServer("a/b", (Weights, content));
        var left = 3;
        server.Misbehave = (request, reply) =>
        {
            reply.Headers.Remove("Content-Range");
            return !request.IsFetch ? reply
                : reply with { Status = 200, Body = content, CutAfter = request.Range is null && left-- > 0 ? 1 << 19 : null };
        };
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(content, File.ReadAllBytes(run.PathOf(Weights)));
    }

    /// <summary>A file system that is read-only, say: nobody ends what would be waited for.</summary>
    [Fact]
    public void A_lock_that_cannot_be_had_is_told_and_not_waited_for()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "links need rights there");
        using var server = new PullServer("a/b", (Weights, [1]));
        using var run = new PullRun(server);
        var folder = Path.GetDirectoryName(run.PathOf(Weights))!;
        Directory.CreateDirectory(folder);
        File.CreateSymbolicLink($"{folder}.lock", $"{folder}.lock");
        using var hung = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        hung.CancelAfter(TimeSpan.FromMinutes(1));
        run.Run(hung.Token, "pull", "hf:a/b").AssertFailed(1, ["cannot write to the cache", ".lock"]);
    }

    [Theory]
    [InlineData("listing is longer")]
    [InlineData("listing is shorter")]
    [InlineData("range of another length")]
    [InlineData("range from elsewhere")]
    [InlineData("whole of another length")]
    [InlineData("body ends early")]
    public void A_wrong_length_is_found(string lie)
    {
        var content = PullRun.Content(1 << 20);
        using var server = new PullServer("a/b", (Weights, content));
        server.ListedSize = (_, size) => lie switch { "listing is longer" => size + 1, "listing is shorter" => size - 1, _ => size };
        server.Misbehave = (request, reply) =>
        {
            if (!request.IsFetch)
            {
                return reply;
            }

            switch (lie)
            {
                case "range of another length":
                    reply.Headers["Content-Range"] = $"bytes 0-{content.Length - 1}/{content.Length + 7}";
                    return reply;
                case "range from elsewhere":
                    reply.Headers["Content-Range"] = $"bytes 1-{content.Length - 1}/{content.Length}";
                    return reply;
                case "whole of another length":
                    reply.Headers.Remove("Content-Range");
                    return reply with { Status = 200, Body = content[..^9] };
                default:
                    return reply with { Body = content[..1000] };
            }
        };
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, [Weights, "wrong length"]);
        Assert.DoesNotContain(Weights, run.Files);
    }

    [Fact]
    public void Wrong_content_is_found_and_thrown_away()
    {
        var content = PullRun.Content(LargeBytes);
        using var server = new PullServer("a/b", (Weights, content));
        server.Misbehave = (request, reply) =>
        {
            if (request.IsFetch)
            {
                reply.Body[0] ^= 1;
            }

            return reply;
        };
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, [Weights, "wrong content", "SHA-256", PullServer.Sha256(content)]);
        Assert.Empty(run.Files);
    }

    [Fact]
    public void A_small_file_is_checked_with_gits_id()
    {
        using var server = new PullServer("a/b", ("config.json", PullRun.Content(100)), (Weights, PullRun.Content(100)));
        server.Misbehave = (request, reply) => request.IsFetch && request.Path.EndsWith(".json", StringComparison.Ordinal)
            ? reply with { Body = PullRun.Content(100, seed: 9) } : reply;
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, ["config.json", "wrong content", "git SHA-1"]);
        Assert.Empty(run.Files);
    }

    [Fact]
    public void A_hub_that_contradicts_itself_or_the_manifest_is_refused()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100))) { ListedHash = (_, _) => new string('0', 64) };
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, [Weights, "SHA-256", new string('0', 64)]);
        Assert.Empty(run.Files);

        string[] files =
        [
            "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.safetensors",
            "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
        ];
        using var other = new PullServer("stable-diffusion-v1-5/stable-diffusion-v1-5", [.. files.Select(f => (f, PullRun.Content(10)))]);
        using var named = new PullRun(other);
        named.Pull("sd15").AssertFailed(1, ["vae/diffusion_pytorch_model.safetensors", "https://huggingface.co/", "a2b5134f4dbc"]);
        Assert.Empty(named.Files);
    }

    [Theory]
    [InlineData(401, "access denied (401)", "HF_TOKEN")]
    [InlineData(403, "access denied (403)", "licence")]
    [InlineData(404, "not found (404)", "hf:a/b")]
    [InlineData(418, "answered 418", "hf:a/b")]
    public void A_refusal_is_one_line_and_not_repeated(int status, params string[] parts)
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        server.Misbehave = (_, reply) => reply with { Status = status, Body = [] };
        run.Pull("hf:a/b").AssertFailed(1, parts);
        Assert.Single(server.Requests);

        server.Misbehave = (request, reply) => request.IsFetch ? reply with { Status = status, Body = [] } : reply;
        run.Pull("hf:a/b").AssertFailed(1, [parts[0], Weights]);
        Assert.DoesNotContain(Weights, run.Files);
    }

    [Theory]
    [InlineData(500)]
    [InlineData(503)]
    [InlineData(429)]
    public void A_passing_failure_is_tried_again_and_a_lasting_one_given_up(int status)
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        var failures = 2;
        server.Misbehave = (_, reply) => Interlocked.Decrement(ref failures) >= 0 ? reply with { Status = status, Body = [] } : reply;
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        var before = server.Requests.Count;
        server.Misbehave = (_, reply) => reply with { Status = status, Body = [] };
        run.Pull("hf:a/b").AssertFailed(1, [$"{status}", "(5 tries)"]);
        Assert.Equal(5, server.Requests.Count - before);
    }

    [Fact]
    public void Retry_after_is_waited_for()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        var failures = 1;
        server.Misbehave = (_, reply) => Interlocked.Decrement(ref failures) >= 0 ? Busy(reply, "1") : reply;
        var clock = Stopwatch.StartNew();
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.True(clock.Elapsed >= TimeSpan.FromSeconds(0.9), $"waited {clock.Elapsed}");

        // An hour is no wait but an error.
        server.Misbehave = (_, reply) => Busy(reply, "3600");
        run.Pull("hf:a/b").AssertFailed(1, ["429", "3600 s"]);

        static PullReply Busy(PullReply reply, string seconds) =>
            reply with { Status = 429, Body = [], Headers = new() { ["Retry-After"] = seconds } };
    }

    [Theory]
    [InlineData("../../evil.safetensors")]
    [InlineData("/evil.safetensors")]
    [InlineData(@"..\evil.safetensors")]
    [InlineData(@"C:\evil.safetensors")]
    [InlineData("unet/./evil.safetensors")]
    public void A_path_out_of_the_folder_is_refused(string path)
    {
        using var server = new PullServer("a/b", (path, PullRun.Content(100)), (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, [path]);
        Assert.Empty(run.Files);
    }

    /// <summary>Pictures beside a model are called by anything, which need not keep anybody from the model.</summary>
    [Theory]
    [InlineData("samples/at 10:12.png")]
    [InlineData("4:3.png")]
    [InlineData("what?.png")]
    [InlineData("evil?.safetensors")]
    public void A_name_that_some_system_cannot_store_is_left_out(string path)
    {
        using var server = new PullServer("a/b", (path, PullRun.Content(100)), (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        var pull = run.Pull("hf:a/b");
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        Assert.Equal([Weights], run.Files);
    }

    [Fact]
    public void A_full_disk_is_foreseen()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100))) { ListedSize = (_, _) => long.MaxValue / 4 };
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, ["GiB", "free", run.Cache]);
        Assert.Equal(0, server.SentBytes);
    }

    [Fact]
    public void An_unwritable_cache_is_named()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        File.WriteAllText(run.Cache, "a file, no folder");
        run.Pull("hf:a/b").AssertFailed(1, ["cannot write to the cache", run.Cache]);
        Assert.Empty(server.Requests);
    }

    [Fact]
    public void Nobody_at_the_address_is_one_line()
    {
        using var server = new PullServer("a/b");
        using var run = new PullRun(server);
        server.Dispose();
        run.Pull("hf:a/b").AssertFailed(1, ["no connection to 127.0.0.1", "(5 tries)"]);
    }

    [Fact]
    public void A_name_that_stands_for_nothing_is_one_line()
    {
        // A label of more than 63 letters is refused without asking anybody.
        using var server = new PullServer("a/b");
        using var run = new PullRun(server);
        run.Environment["HF_ENDPOINT"] = $"http://{new string('a', 64)}.invalid";
        run.Pull("hf:a/b").AssertFailed(1, ["cannot be resolved"]);
    }

    [Fact]
    public void A_failed_handshake_is_one_line()
    {
        // A server in the clear cannot answer a TLS handshake.
        using var server = new PullServer("a/b");
        using var run = new PullRun(server);
        run.Environment["HF_ENDPOINT"] = server.Address.Replace("http:", "https:", StringComparison.Ordinal);
        run.Pull("hf:a/b").AssertFailed(1, ["no secure connection"]);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("{\"sha\": 1}")]
    [InlineData("{\"sha\": \"x\", \"siblings\": [{}]}")]
    public void A_listing_that_is_none_is_one_line(string listing)
    {
        using var server = new PullServer("a/b");
        using var run = new PullRun(server);
        server.Misbehave = (_, reply) => reply with { Body = System.Text.Encoding.UTF8.GetBytes(listing) };
        run.Pull("hf:a/b").AssertFailed(1, ["hf:a/b", "cannot be read"]);
    }

    // What is in the buffers of a broken connection goes out, but is not always read.
    private static void AssertFetched(long expected, long sent)
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"{sent} bytes for {expected}");
        Assert.InRange(sent, expected, expected + (expected / 4));
    }
}
