using System.Diagnostics;
using System.Globalization;
using System.IO.Pipes;
using System.Text;
using StableDiffusion.Ilgpu.Cli;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>The command line, run in this process.</summary>
public sealed class CliTests
{
    private const string ALongTime = "900";

    /// <summary>Arguments behind <c>txt2img -o FOLDER/picture.png</c>, the exit code, and what the error line must contain.</summary>
    public static TheoryData<string[], int, string[]> BadInput => new()
    {
        { ["-p", "x", "--sampling-method", "eulr"], 2, ["sampler \"eulr\"", .. Samplers.All.Select(s => s.Name)] },
        { ["-p", "x", "--scheduler", "carras"], 2, ["scheduler \"carras\"", "discrete", "karras"] },
        { ["-p", "x", "--rng", "dice"], 2, ["rng \"dice\"", "cpu", "cuda"] },
        { ["-p", "x", "--device", "abacus"], 1, ["device 'abacus'", "auto", "cpu"] },
        { ["-p", "x", "-m", "/no/such/model"], 1, ["/no/such/model"] },
        { ["-p", "x", "-m", "synthetic:sd99"], 1, ["synthetic:sd99"] },
        { ["-p", "x", "-W", "100"], 1, ["width 100", "multiples of 8"] },
        { ["-p", "x", "-H", "65"], 1, ["height 65", "multiples of 8"] },
        { ["-p", "x", "-W", "0"], 1, ["width 0"] },
        { ["-p", "x", "-H", "-64"], 1, ["height -64"] },
        { ["-p", "x", "--steps", "0"], 1, ["steps 0"] },
        { ["-p", "x", "--steps", "-5"], 1, ["steps -5"] },
        { ["-p", "x", "-b", "0"], 1, ["batch count 0"] },
        { ["-p", "x", "--eta", "2"], 1, ["eta 2", "0 to 1"] },
        { ["-p", "x", "--sampling-method", "heun", "--eta", "1"], 1, ["sampler heun takes no eta", "euler_a"] },
        { ["-p", "x", "--sampling-method", "lcm", "--scheduler", "karras"], 1, ["sampler lcm has no karras schedule", "discrete"] },
        { ["-p", "x", "--sampling-method", "tcd", "--steps", "51"], 1, ["steps 51", "50"] },
        { ["-p", "x", "--batch-size", "0"], 1, ["batch size 0"] },
        { ["-p", "x", "--vae-tile-size", "32x"], 2, ["VAE tile size '32x'", "32x32"] },
        { ["-p", "x", "--vae-tile-size", "1x2x3"], 2, ["VAE tile size '1x2x3'", "32x32"] },
        { ["-p", "x", "--vae-tile-overlap", "0.6"], 1, ["VAE tile overlap 0.6", "0 to 0.5"] },
        { ["-p", "x", "--hires", "--hires-scale", "0.5"], 1, ["hires scale 0.5", "1 to 16"] },
        { ["-p", "x", "--hires", "--hires-denoising-strength", "0"], 1, ["hires denoising strength 0", "up to 1"] },
        { ["-p", "x", "--hires", "--hires-steps", "0"], 1, ["hires steps 0"] },
        { ["-p", "x", "--hires-steps", "5"], 2, ["'--hires-steps' has no effect without '--hires'"] },
        { ["-p", "x", "--hires", "--hires-upscaler", "cubic"], 2, ["upscaler \"cubic\"", "latent", "latent-nearest", "lanczos", "nearest", "pixel"] },
        { ["-p", "x", "--cfg-scale", "NaN"], 1, ["guidance scale NaN"] },
        { ["-p", "x", "--cfg-scale", "1e39"], 1, ["guidance scale 1E+39"] },
        { ["-p", "x", "--lora", "x.safetensors:1e39"], 1, ["x.safetensors:1e39", "scale"] },
        { ["-p", "x", "--cfg-scale", "7,5"], 2, ["--cfg-scale '7,5'", "number"] },
        { ["-p", "x", "--steps", "many"], 2, ["--steps 'many'", "number"] },
        { ["-p", "x", "--steps", "99999999999"], 2, ["--steps '99999999999'"] },
        { ["-p", "x", "--steps"], 2, ["--steps"] },
        { ["-p", "x", "--stepz", "20"], 2, ["--stepz"] },
        { ["-p", "x", "surplus"], 2, ["surplus"] },
        { ["-p", "x", "--vae", ""], 2, ["--vae has an empty value"] },
        { ["-p", "--steps", "2"], 2, ["-p has no value", "'--steps'", "-p=--steps"] },
        { ["-p", "x", "--preview", "-b", "2"], 2, ["--preview has no value", "'-b'"] },
        { ["-p", "x", "--seed", "--help"], 2, ["--seed has no value", "'--help'"] },
        { ["-p", "x", "-W", "2147483640"], 1, ["width 2147483640", "8 to 16384"] },
        { ["-p", "x", "-W", "8192", "-H", "64", "--hires", "--hires-scale", "4"], 1, ["width of the second pass 32768"] },
        { ["-p", "x", "-s", "9223372036854775807", "-b", "2"], 1, ["seed 9223372036854775807", "up to 9223372036854775806"] },
        { [], 2, ["--prompt"] },
    };

    [Theory]
    [MemberData(nameof(BadInput))]
    public void Bad_input_gives_one_clear_line_and_no_file(string[] arguments, int exit, string[] parts)
    {
        using var folder = new TemporaryFolder();
        var run = CliRun.InProcess(["txt2img", "-o", folder["picture.png"], .. arguments]);
        run.AssertFailed(exit, parts);
        Assert.Empty(folder.Entries);
    }

    [Theory]
    [InlineData("missing/picture.png", "missing")]
    [InlineData("folder.png", "folder.png")]
    [InlineData("picture.jpg", ".png")]
    [InlineData("", "file")]
    public void An_unwritable_output_is_found_before_anything_is_computed(string output, string part)
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["folder.png"]);

        // The steps would take longer than any test may.
        var run = CliRun.InProcess("txt2img", "-p", "x", "--steps", ALongTime, "-o", folder[output]);
        run.AssertFailed(1, [folder[output], part]);
        Assert.Equal(["folder.png"], folder.Entries);
    }

    [Theory]
    [InlineData("-o")]
    [InlineData("--preview", "1", "--preview-path")]
    public async Task A_pipe_as_output_is_refused_and_not_waited_for(params string[] options)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "makes a pipe with the Linux command mkfifo");
        using var folder = new TemporaryFolder();
        using (var make = Process.Start("mkfifo", [folder["pipe.png"]]))
        {
            await make.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        string[] arguments = ["txt2img", "-p", "x", "--steps", ALongTime, .. options, folder["pipe.png"]];
        var run = await CliRun.InChildProcess(options[0] == "-o" ? arguments : [.. arguments, "-o", folder["picture.png"]]);
        run.AssertFailed(1, [folder["pipe.png"], "pipe or a device"]);
        Assert.Equal(["pipe.png"], folder.Entries);
    }

    [Fact]
    public void A_picture_may_lie_in_memory()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Directory.Exists("/dev/shm"), "there is no folder for files in memory");
        var file = $"/dev/shm/sdilgpu-tests-{Guid.NewGuid():N}.png";
        try
        {
            var run = CliRun.InProcess("txt2img", "-p", "x", "--steps", "1", "-o", file);
            Assert.Equal((0, "", true), (run.Exit, run.Error, File.Exists(file)));
        }
        finally
        {
            File.Delete(file);
        }

        CliRun.InProcess("txt2img", "-p", "x", "-o", "/dev/full").AssertFailed(1, ["/dev/full", "device"]);
    }

    [Theory]
    [InlineData(2, "command is missing; valid: txt2img, img2img, devices, compare, inspect, convert, pull, metadata")]
    [InlineData(2, "command 'frobnicate'; valid: txt2img, img2img, devices, compare, inspect, convert, pull, metadata", "frobnicate")]
    [InlineData(2, "option '--frobnicate'; valid: txt2img, img2img, devices, compare, inspect, convert, pull, metadata", "--frobnicate")]
    [InlineData(2, "--frobnicate", "devices", "--frobnicate")]
    [InlineData(1, "/no/such/model", "inspect", "-m", "/no/such/model")]
    [InlineData(1, "width 9", "inspect", "--plan", "-W", "9")]
    public void Other_commands_fail_in_one_line_too(int exit, string part, params string[] arguments) =>
        CliRun.InProcess(arguments).AssertFailed(exit, [part]);

    [Fact]
    public void Help_lists_every_option_with_its_default()
    {
        var help = CliRun.InProcess("txt2img", "--help");
        Assert.Equal((0, ""), (help.Exit, help.Error));
        string[] options =
        [
            "-m, --model", "-p, --prompt", "-n, --negative-prompt", "-W, --width", "-H, --height", "--steps", "--cfg-scale", "-s, --seed",
            "-b, --batch-count", "--sampling-method", "--scheduler", "--eta", "-o, --output", "--device", "--offload", "-v, --verbose", "--rng",
            "[default: euler_a]", "[default: discrete]", "[default: 20]", "[default: 7]", "[default: 42]", "[default: output.png]",
        ];
        Assert.All(options, option => Assert.Contains(option, help.Output, StringComparison.Ordinal));
    }

    [Fact]
    public void Devices_lists_every_accelerator_with_one_default()
    {
        var run = CliRun.InProcess("devices");
        Assert.Equal((0, ""), (run.Exit, run.Error));
        foreach (var device in ComputeDevice.All)
        {
            var line = Assert.Single(run.Lines, l => l.TrimStart().StartsWith(device.Id + " ", StringComparison.Ordinal));
            Assert.Contains(device.Name, line, StringComparison.Ordinal);
            Assert.Contains($" {device.ComputeUnits} ", line, StringComparison.Ordinal);
            Assert.Equal(device.IsDefault, line.Contains("yes", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("p.png", "--save-steps", "p.png")]
    [InlineData("preview.png", "--preview", "1")]
    [InlineData("p.png", "--preview", "1", "--preview-path", "s.png", "--save-steps", "./s.png")]
    public void What_shows_the_way_does_not_take_the_pictures_place(string output, params string[] options)
    {
        using var folder = new TemporaryFolder();
        string[] placed = [.. options.Select(o => o.EndsWith(".png", StringComparison.Ordinal) ? folder[o] : o)];
        CliRun.InProcess(["txt2img", "-p", "x", "--steps", "1", "-o", folder[output], .. placed]).AssertFailed(1, ["would be written over"]);
        Assert.Empty(folder.Entries);
    }

    [Fact]
    public void Prompts_may_come_through_a_pipe()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "pipes have names like this on Linux");
        using var folder = new TemporaryFolder();
        using var writer = new AnonymousPipeServerStream(PipeDirection.Out);
        using var reader = new AnonymousPipeClientStream(PipeDirection.In, writer.GetClientHandleAsString());
        writer.Write("a cat\na dog\n"u8);
        var pipe = $"/dev/fd/{reader.SafePipeHandle.DangerousGetHandle()}";
        writer.Dispose();
        var run = CliRun.InProcess("txt2img", "--steps", "1", "--prompt-file", pipe, "-o", folder["a.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Equal(["a_0.png", "a_1.png"], folder.Entries);
    }

    /// <summary>As other tools' data do.</summary>
    [Fact]
    public void A_prompt_may_begin_with_a_bracket()
    {
        using var folder = new TemporaryFolder();
        Assert.Equal(0, CliRun.InProcess("txt2img", "-p", "{a|b}, c", "--steps", "1", "-o", folder["a.png"]).Exit);
        Assert.Equal(0, CliRun.InProcess("txt2img", "--from", folder["a.png"], "-o", folder["b.png"]).Exit);
        Assert.Equal(File.ReadAllBytes(folder["a.png"]), File.ReadAllBytes(folder["b.png"]));
    }

    [Fact]
    public void An_empty_prompt_draws_and_prints_one_line()
    {
        using var folder = new TemporaryFolder();
        var run = CliRun.InProcess("txt2img", "-p", "", "--steps", "2", "-o", folder["a.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Matches(@"a\.png  seed 42  \d+\.\d\d s$", Assert.Single(run.Lines));
        var png = PngFile.Read(folder["a.png"]);
        Assert.True(png.Pixels.Distinct().Count() > 1, "the picture is empty");
        Assert.StartsWith("Steps: 2, Sampler: Euler a, ", png.Text("parameters"), StringComparison.Ordinal);
    }

    /// <summary>A tile's width comes first.</summary>
    [Theory]
    [InlineData("8x16", true)]
    [InlineData("16", true)]
    [InlineData("16x8", false)]
    public void A_tile_of_the_pictures_size_is_the_picture(string size, bool covers)
    {
        using var folder = new TemporaryFolder();
        string[] arguments = ["txt2img", "-p", "a red apple", "--steps", "1", "-W", "64", "-H", "128", "-o"];
        Assert.Equal(0, CliRun.InProcess([.. arguments, folder["a.png"]]).Exit);
        Assert.Equal(0, CliRun.InProcess([.. arguments, folder["b.png"], "--vae-tiling", "--vae-tile-size", size]).Exit);
        Assert.Equal(covers, PngFile.Read(folder["a.png"]).Pixels.SequenceEqual(PngFile.Read(folder["b.png"]).Pixels));
    }

    [Theory]
    [InlineData("--offload")]
    [InlineData("--offload-to-cpu")]
    [InlineData("--medvram")]
    public void Models_that_take_turns_draw_the_same_file(string option)
    {
        using var folder = new TemporaryFolder();
        string[] arguments = ["txt2img", "-p", "a red apple", "--steps", "2", "-o"];
        Assert.Equal((0, ""), Result(CliRun.InProcess([.. arguments, folder["a.png"]])));
        Assert.Equal((0, ""), Result(CliRun.InProcess([.. arguments, folder["b.png"], option])));
        Assert.Equal(File.ReadAllBytes(folder["a.png"]), File.ReadAllBytes(folder["b.png"]));
        static (int, string) Result(CliRun run) => (run.Exit, run.Error);
    }

    [Theory]
    [InlineData("ddim", "0.5", "discrete", "Steps: 1, Sampler: DDIM, Schedule type: Uniform, CFG scale: 7, ", ", Eta DDIM: 0.5, Version: ")]
    [InlineData("ddim", "0.5", "normal", "Steps: 1, Sampler: DDIM, Schedule type: Uniform, CFG scale: 7, ", ", Eta DDIM: 0.5, Version: ")]
    [InlineData("euler_a", "0.5", "normal", "Steps: 1, Sampler: Euler a, Schedule type: Normal, CFG scale: 7, ", ", Eta: 0.5, Version: ")]
    [InlineData("dpmpp_2m_sde", "0", "ays", "Steps: 1, Sampler: DPM++ 2M SDE, Schedule type: Align Your Steps, CFG scale: 7, ", ", Eta: 0, Version: ")]
    [InlineData("euler_a", "1", "sgm_uniform", "Steps: 1, Sampler: Euler a, Schedule type: SGM Uniform, CFG scale: 7, ", "Model: demo, Version: ")]
    public void Metadata_name_sampler_schedule_and_share_of_noise(string sampler, string eta, string scheduler, string start, string end)
    {
        using var folder = new TemporaryFolder();
        var run = CliRun.InProcess(
            "txt2img", "-p", "", "--steps", "1", "--sampling-method", sampler, "--eta", eta, "--scheduler", scheduler, "-o", folder["a.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        var text = PngFile.Read(folder["a.png"]).Text("parameters");
        Assert.StartsWith(start, text, StringComparison.Ordinal);
        Assert.Contains(end, text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("p.png", "p_0.png", "p_1.png")]
    [InlineData("p%03d.png", "p000.png", "p001.png")]
    [InlineData("%d-p", "0-p.png", "1-p.png")]
    public void A_batch_gets_one_numbered_file_and_one_seed_a_picture(string output, string first, string second)
    {
        using var folder = new TemporaryFolder();
        var run = CliRun.InProcess("txt2img", "-p", "@cat -x", "-b", "2", "-s", "7", "--steps", "1", "-o", folder[output]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Equal(new[] { first, second }, folder.Entries);
        Assert.Contains("Seed: 7,", PngFile.Read(folder[first]).Text("parameters"), StringComparison.Ordinal);

        // The second picture of a batch is the picture of the next seed.
        CliRun.InProcess("txt2img", "-p", "@cat -x", "-s", "8", "--steps", "1", "-o", folder["alone.png"]);
        Assert.Equal(File.ReadAllBytes(folder["alone.png"]), File.ReadAllBytes(folder[second]));
        Assert.NotEqual(File.ReadAllBytes(folder[first]), File.ReadAllBytes(folder[second]));
    }

    [Fact]
    public void A_negative_seed_draws_one_and_prints_it()
    {
        using var folder = new TemporaryFolder();
        var run = CliRun.InProcess("txt2img", "-p", "cat", "-s", "-1", "--steps", "1", "-o", folder["a.png"]);
        var seed = run.Lines[0].Split("  seed ")[1].Split(' ')[0];
        Assert.InRange(long.Parse(seed, CultureInfo.InvariantCulture), 0, uint.MaxValue);
        Assert.Contains($"Seed: {seed},", PngFile.Read(folder["a.png"]).Text("parameters"), StringComparison.Ordinal);
    }

    [Fact]
    public void Verbose_says_where_the_time_went()
    {
        using var folder = new TemporaryFolder();
        var run = CliRun.InProcess("txt2img", "-p", "cat", "-v", "--steps", "1", "-o", folder["a.png"]);
        Assert.Equal((0, 3), (run.Exit, run.Lines.Length));
        Assert.All(
            new[] { "start ", "load ", "JIT ", "text ", "steps ", "decode ", "save ", "total " },
            part => Assert.Contains(part, run.Lines[2], StringComparison.Ordinal));
    }

    [Fact]
    public void A_cancelled_run_says_so_and_leaves_no_file()
    {
        using var folder = new TemporaryFolder();
        using var cancellation = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        var run = CliRun.InProcessUntil(cancellation.Token, "txt2img", "-p", "cat", "--steps", ALongTime, "-o", folder["a.png"]);
        Assert.Equal((130, "", "cancelled"), (run.Exit, run.Output, run.Error.Trim()));
        Assert.Empty(folder.Entries);
    }

    [Fact]
    public void A_cancelled_plan_says_so()
    {
        // What is left to run then takes many times as long.
        using var cancellation = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        var run = CliRun.InProcessUntil(cancellation.Token, "inspect", "--plan", "-W", "1024", "-H", "1024");
        Assert.Equal((130, "cancelled"), (run.Exit, run.Error.Trim()));
    }

    [Fact]
    public void Inspect_prints_the_components_and_the_plan()
    {
        var run = CliRun.InProcess("inspect", "--plan");
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.All(
            new[] { "text_encoder", "unet", "vae", "total", "Path", "Op", "Shape", "Kernel", "Offset", "Bytes", "ms" },
            part => Assert.Contains(part, run.Output, StringComparison.Ordinal));
        Assert.DoesNotContain("…", run.Output, StringComparison.Ordinal);
    }

    /// <summary>The bar's own thread meets the error first, where nobody would catch it. Fewer steps may be done before that thread draws at all.</summary>
    [Fact]
    public void A_terminal_that_is_gone_does_not_end_the_drawing()
    {
        using var folder = new TemporaryFolder();
        using var output = new OwnThreadsWriter();
        using var error = new StringWriter();
        var context = new CommandContext(new ResultWriter(output), error, Interactive: true, TestContext.Current.CancellationToken);
        var exit = CommandLine.Run(["txt2img", "-p", "x", "--steps", "400", "-o", folder["a.png"]], context);
        new CliRun(exit, "", error.ToString()).AssertFailed(1, ["cannot write to the standard output: gone"]);
        Assert.True(output.HasFailed);
        Assert.Equal(["a.png"], folder.Entries);
    }

    [Fact]
    public void Many_names_do_not_keep_an_interrupt_waiting() => Assert.Throws<OperationCanceledException>(
        () => OutputNames.All("a.png", 1000, new CancellationToken(canceled: true)));

    /// <summary>Here a terminal has 80 columns, and the tables of devices and of models are wider.</summary>
    [Theory]
    [InlineData("inspect")]
    [InlineData("devices")]
    public void A_narrow_terminal_takes_nothing_from_tables(string command)
    {
        using var output = new StringWriter();
        var context = new CommandContext(output, TextWriter.Null, Interactive: true, TestContext.Current.CancellationToken);
        Assert.Equal(0, CommandLine.Run([command], context));
        var lines = output.ToString().Split('\n');
        Assert.All(
            CliRun.InProcess(command).Lines.Select(l => l.Trim()).Where(l => l.Length > 0 && l[0] != '─'),
            row => Assert.Contains(lines, line => line.Contains(row, StringComparison.Ordinal)));
    }

    [Fact]
    public void A_narrow_terminal_breaks_no_file_name()
    {
        using var folder = new TemporaryFolder();
        using var output = new StringWriter();
        var context = new CommandContext(output, TextWriter.Null, Interactive: true, TestContext.Current.CancellationToken);
        var picture = folder[$"{new string('a', 50)} {new string('b', 50)}.png"];
        Assert.Equal(0, CommandLine.Run(["txt2img", "-p", "x", "--steps", "1", "-o", picture], context));
        Assert.Contains($"\e[K{picture}  seed 42  ", output.ToString(), StringComparison.Ordinal);
    }

    /// <summary>Takes what its maker's thread writes, and nothing else.</summary>
    private sealed class OwnThreadsWriter : TextWriter
    {
        private readonly int own = Environment.CurrentManagedThreadId;

        public bool HasFailed { get; private set; }

        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value)
        {
            if (Environment.CurrentManagedThreadId != own)
            {
                HasFailed = true;
                throw new IOException("gone");
            }
        }
    }
}
