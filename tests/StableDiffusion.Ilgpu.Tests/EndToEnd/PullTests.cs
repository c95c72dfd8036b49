using StableDiffusion.Ilgpu.Cli;
using StableDiffusion.Ilgpu.Cli.Downloads;
using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary><c>sdilgpu pull</c> against a server that does what it should: what is chosen, fetched, checked and opened.</summary>
public sealed class PullTests
{
    private const string Weights = "model.safetensors";

    /// <summary>More than two pieces, the last one short.</summary>
    private const int LargeBytes = (20 << 20) + 12345;

    private static readonly string[] Pipeline =
    [
        "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.safetensors",
        "tokenizer/merges.txt", "tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ];

    [Fact]
    public void A_large_file_comes_in_ranges_over_several_connections_and_is_verified()
    {
        var content = PullRun.Content(LargeBytes);
        using var server = new PullServer("a/b", (Weights, content));
        server.Misbehave = (_, reply) => reply with { Pause = TimeSpan.FromMilliseconds(1) };
        using var run = new PullRun(server);
        var pull = run.Pull("hf:a/b");
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        Assert.Equal(content, File.ReadAllBytes(run.PathOf(Weights)));
        Assert.Equal([Weights], run.Files);
        Assert.Equal(LargeBytes, server.SentBytes);
        Assert.True(server.Requests.Count(r => r.Range is not null) >= 3, "no ranges");
        Assert.True(server.MostOpen >= 2, "one connection at a time");
        Assert.Equal([$"{Weights}  20.0 MiB  SHA-256 verified with the hub's reply", $"hf:a/b is in {run.PathOf(Weights)}"], pull.Lines);

        // Once more: nothing is fetched.
        Assert.Contains("already there", run.Pull("hf:a/b").Output, StringComparison.Ordinal);
        Assert.Equal(LargeBytes, server.SentBytes);
    }

    [Fact]
    public void Names_from_the_hub_do_not_turn_the_terminals_lines_round()
    {
        using var server = new PullServer("a/b", [.. Pipeline.Append("tokenizer/a\u202eb.json").Select(f => (f, PullRun.Content(10)))]);
        using var run = new PullRun(server);
        var pull = run.Pull("hf:a/b");
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        Assert.Contains(pull.Lines, line => line.StartsWith("tokenizer/a b.json  10 B  ", StringComparison.Ordinal));
        Assert.Contains("tokenizer/a\u202eb.json", run.Files);
    }

    [Fact]
    public void A_server_without_ranges_is_read_in_one_go()
    {
        var content = PullRun.Content(LargeBytes);
        using var server = new PullServer("a/b", (Weights, content));
        server.Misbehave = (request, reply) =>
        {
            reply.Headers.Remove("Content-Range");
            return request.IsFetch ? reply with { Status = 200, Body = content } : reply;
        };
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(content, File.ReadAllBytes(run.PathOf(Weights)));
    }

    [Theory]
    [InlineData(null, "unet/diffusion_pytorch_model.safetensors")]
    [InlineData("fp16", "unet/diffusion_pytorch_model.fp16.safetensors")]
    public void Of_a_diffusers_repository_the_parts_that_make_a_model_are_fetched_once(string? variant, string unet)
    {
        string[] surplus =
        [
            ".gitattributes", "README.md", "v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors", "safety_checker/config.json",
            "safety_checker/model.safetensors", "feature_extractor/preprocessor_config.json", "text_encoder/pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "vae/diffusion_pytorch_model.bin",
        ];
        using var server = new PullServer("a/b", [.. Pipeline.Concat(surplus).Select((f, i) => (f, PullRun.Content(100 + i, i)))]);
        using var run = new PullRun(server);
        string[] arguments = variant is null ? ["hf:a/b"] : ["hf:a/b", "--variant", variant];
        var pull = run.Pull(arguments);
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        var expected = Pipeline.Select(f => f == "unet/diffusion_pytorch_model.safetensors" ? unet : f).Order(StringComparer.Ordinal);
        Assert.Equal(expected, run.Files);
        Assert.Contains("config.json  106 B  git SHA-1 verified with the hub's reply", pull.Output, StringComparison.Ordinal);
        var folder = Path.GetDirectoryName(run.PathOf("model_index.json", variant is null ? "main" : "main+fp16"));
        Assert.Equal(folder, new ModelCache(run.Cache).Find("hf:a/b"));
    }

    [Fact]
    public void Shards_are_fetched_with_their_index_and_pickle_only_where_there_is_nothing_else()
    {
        string[] unet =
        [
            "unet/diffusion_pytorch_model.safetensors.index.json", "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        ];
        string[] files =
        [
            .. Pipeline.Where(f => f is not ("unet/diffusion_pytorch_model.safetensors" or "vae/diffusion_pytorch_model.safetensors")),
            .. unet, "vae/diffusion_pytorch_model.bin",
        ];
        using var server = new PullServer("a/b", [.. files.Select((f, i) => (f, PullRun.Content(50, i)))]);
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(files.Order(StringComparer.Ordinal), run.Files);
        run.Pull("hf:a/b", "--variant", "bf16").AssertFailed(1, ["bf16", "hf:a/b"]);
    }

    [Fact]
    public void Shards_of_PyTorch_files_are_fetched_with_their_index()
    {
        string[] shards =
        [
            .. from name in new[] { "text_encoder/pytorch_model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model" }
               from ending in new[] { "-00001-of-00002.bin", "-00002-of-00002.bin", ".bin.index.json" }
               select name + ending,
        ];
        string[] files = [.. Pipeline.Where(f => !f.EndsWith(".safetensors", StringComparison.Ordinal)), .. shards];
        string[] surplus = ["unet/training-00001-of-00002.bin", "unet/flax_model.msgpack", "text_encoder/rust_model.ot"];
        using var server = new PullServer("a/b", [.. files.Concat(surplus).Select((f, i) => (f, PullRun.Content(50, i)))]);
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(files.Order(StringComparer.Ordinal), run.Files);
    }

    [Fact]
    public void One_file_of_a_repository_can_be_named_and_opened()
    {
        using var server = new PullServer(
            "a/b", ("x/one.safetensors", PullRun.Content(10)), ("two.safetensors", PullRun.Content(20)), ("three.ckpt", []));
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:a/b:x/one.safetensors").Exit);
        Assert.Equal(run.PathOf("x/one.safetensors"), new ModelCache(run.Cache).Find("hf:a/b:x/one.safetensors"));
        Assert.Equal(0, run.Pull("hf:a/b:three.ckpt").Exit);
        Assert.Equal(["three.ckpt", "x/one.safetensors"], run.Files);
        run.Pull("hf:a/b:four").AssertFailed(1, ["'four'", "two.safetensors", "x/one.safetensors"]);
        Assert.Throws<StableDiffusionException>(() => new ModelCache(run.Cache).Find("hf:a/b"));
    }

    [Fact]
    public void Several_single_files_are_the_users_choice()
    {
        using var server = new PullServer("a/b", ("one.safetensors", PullRun.Content(10)), ("two.safetensors", PullRun.Content(20)));
        using var run = new PullRun(server);
        run.Pull("hf:a/b").AssertFailed(1, ["several", "one.safetensors", "two.safetensors", "hf:a/b:FILE"]);
    }

    [Fact]
    public void A_short_name_pulls_and_then_opens()
    {
        using var server = new PullServer(
            "madebyollin/taesd", ("config.json", PullRun.Content(9)), ("diffusion_pytorch_model.safetensors", PullRun.Content(10)),
            ("diffusion_pytorch_model.bin", PullRun.Content(10)), ("taesd_decoder.safetensors", PullRun.Content(10)));
        using var run = new PullRun(server);
        var before = Assert.Throws<StableDiffusionException>(() => new ModelCache(run.Cache).Find("taesd"));
        Assert.Contains("sdilgpu pull taesd", before.Message, StringComparison.Ordinal);
        Assert.Equal(0, run.Pull("taesd").Exit);
        Assert.Equal(["config.json", "diffusion_pytorch_model.safetensors"], run.Files);
        Assert.Equal(run.PathOf("diffusion_pytorch_model.safetensors"), new ModelCache(run.Cache).Find("TAESD"));
    }

    [Fact]
    public void A_file_and_the_model_of_one_repository_do_not_hide_each_other()
    {
        const string File = "v1-5-pruned-emaonly.safetensors";
        using var server = new PullServer(
            "stable-diffusion-v1-5/stable-diffusion-v1-5", [.. Pipeline.Append(File).Select((f, i) => (f, PullRun.Content(10, i)))]);
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:stable-diffusion-v1-5/stable-diffusion-v1-5").Exit);
        Assert.Equal(0, run.Pull("sd15-single").Exit);
        var cache = new ModelCache(run.Cache);
        Assert.Equal(Path.GetDirectoryName(run.PathOf("model_index.json")), cache.Find("sd15"));
        Assert.Equal(run.PathOf(File), cache.Find("sd15-single"));
    }

    [Fact]
    public void A_pulled_model_draws_a_picture()
    {
        var demo = Path.Combine(AppContext.BaseDirectory, "weights", "demo");
        var files = Directory.EnumerateFiles(demo, "*", SearchOption.AllDirectories)
            .Select(f => (Path.GetRelativePath(demo, f).Replace('\\', '/'), File.ReadAllBytes(f)));
        using var server = new PullServer("stabilityai/sd-turbo", [.. files]);
        using var run = new PullRun(server);
        var picture = Path.Combine(Path.GetDirectoryName(run.Cache)!, "a.png");
        string[] draw = ["txt2img", "-p", "cat", "--steps", "1", "-m", "sd-turbo", "-o", picture];
        run.Run(TestContext.Current.CancellationToken, draw).AssertFailed(1, ["sdilgpu pull sd-turbo", run.Cache]);
        Assert.Equal(0, run.Pull("sd-turbo").Exit);
        var drawn = run.Run(TestContext.Current.CancellationToken, draw);
        Assert.Equal((0, ""), (drawn.Exit, drawn.Error));
        Assert.Equal("sd-turbo", PictureSettings.Read(picture).Settings.Single(s => s.Key == "Model").Value);
        var inspected = run.Run(TestContext.Current.CancellationToken, "inspect", "-m", "hf:stabilityai/sd-turbo");
        Assert.Contains("unet", inspected.Output, StringComparison.Ordinal);
        Assert.StartsWith("sd-turbo: ", inspected.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_without_any_hash_is_called_not_verified()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100))) { ListedHash = (_, _) => null, Untagged = true };
        using var run = new PullRun(server);
        Assert.Contains("not verified", run.Pull("hf:a/b").Lines[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_new_version_replaces_the_old_one()
    {
        using var server = new PullServer("a/b", (Weights, PullRun.Content(100)));
        using var run = new PullRun(server);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        server.Files[Weights] = PullRun.Content(100, seed: 2);
        Assert.Equal(0, run.Pull("hf:a/b").Exit);
        Assert.Equal(server.Files[Weights], File.ReadAllBytes(run.PathOf(Weights)));
    }

    [Fact]
    public void Where_somebody_watches_the_results_follow_the_bar()
    {
        using var server = new PullServer("a/b", ("[x].safetensors", PullRun.Content(4 << 20)));
        server.Misbehave = (_, reply) => reply with { Pause = TimeSpan.FromMilliseconds(10) };
        using var run = new PullRun(server) { Interactive = true };
        var pull = run.Pull("hf:a/b");
        Assert.Equal((0, ""), (pull.Exit, pull.Error));
        Assert.Contains("[x].safetensors  4.0 MiB  SHA-256 verified", pull.Lines[^2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sd99", "unknown model 'sd99'", "sd15", "sd21", "sd21-base", "sd-turbo", "taesd", "sd15-inpainting")]
    [InlineData("hf:a", "'hf:a'", "OWNER/REPOSITORY")]
    [InlineData("hf:a/b:../x", "OWNER/REPOSITORY")]
    [InlineData("hf:a/..", "OWNER/REPOSITORY")]
    public void Unknown_names_list_the_valid_ones(string name, params string[] parts)
    {
        using var server = new PullServer("a/b");
        using var run = new PullRun(server);
        run.Pull(name).AssertFailed(1, parts);
        Assert.Empty(server.Requests);
        Assert.False(Directory.Exists(run.Cache));
    }

    [Fact]
    public void An_address_that_is_none_is_named()
    {
        using var server = new PullServer("a/b");
        using var run = new PullRun(server);
        run.Environment["HF_ENDPOINT"] = "ftp://x";
        run.Pull("hf:a/b").AssertFailed(1, ["HF_ENDPOINT", "ftp://x"]);
    }

    [Fact]
    public void Every_model_of_the_manifest_is_well_formed()
    {
        var manifest = ModelManifest.Read(ModelManifest.DefaultPath);
        Assert.Equal(manifest.Models.Count, manifest.Models.Select(m => m.Name).Distinct().Count());
        Assert.All(manifest.Models, model =>
        {
            Assert.Equal(model.Reference, HubReference.Parse(model.Reference.ToString()));
            Assert.All(
                model.Hashes ?? [], hash => Assert.StartsWith("https://", model.DigestOf(hash.File)!.Source, StringComparison.Ordinal));
        });
    }
}
