using System.Diagnostics;
using StableDiffusion.Ilgpu.Cli;
using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>The command line as a process: exit codes, signals, streams and the environment.</summary>
public sealed class CliProcessTests
{
    [Fact]
    public async Task Exit_codes_tell_success_failure_and_wrong_usage_apart()
    {
        using var folder = new TemporaryFolder();
        var success = await CliRun.InChildProcess(["txt2img", "-p", "cat", "--steps", "1", "-o", folder["a.png"]]);
        Assert.Equal((0, ""), (success.Exit, success.Error));
        Assert.Single(success.Lines);
        Assert.Equal(["a.png"], folder.Entries);

        (await CliRun.InChildProcess(["txt2img", "-p", "cat", "-o", folder["missing/a.png"]])).AssertFailed(1, ["missing"]);
        (await CliRun.InChildProcess(["txt2img", "--no-such-option"])).AssertFailed(2, ["--no-such-option"]);
    }

    [Theory]
    [InlineData("> /dev/full", "No space left on device", "metadata")]
    [InlineData("> /dev/full", "No space left on device", "inspect")]
    [InlineData("> /dev/full", "No space left on device", "--help")]
    [InlineData(">&-", "closed", "metadata")]
    [InlineData("> /dev/full", "No space left on device", "txt2img")]
    public async Task An_output_that_takes_nothing_is_told_in_one_line(string redirection, string part, string command)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "redirects with a shell to a device of Linux");
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder["a.png"], 8, 8, new byte[192], "a cat\nSteps: 1, Sampler: Euler, Seed: 1");
        string[] arguments = command switch
        {
            "metadata" => [command, folder["a.png"]],
            "txt2img" => [command, "-p", "cat", "--steps", "1", "-b", "50", "--batch-size", "1", "-o", folder["b%d.png"]],
            _ => [command],
        };
        using var shell = Process.Start(new ProcessStartInfo(
            "sh", ["-c", $"exec dotnet \"$@\" {redirection}", "sh", Path.Combine(AppContext.BaseDirectory, "sdilgpu.dll"), .. arguments])
        {
            RedirectStandardError = true,
        })!;
        var error = await shell.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
        new CliRun(shell.ExitCode, "", error).AssertFailed(1, ["cannot write to the standard output", part]);

        // What was drawn by then is there, as whole files, and no more is drawn.
        var drawn = folder.Entries.Except(["a.png"]).ToArray();
        Assert.Equal(Enumerable.Range(0, drawn.Length).Select(i => $"b{i}.png"), drawn.Order(StringComparer.Ordinal).OrderBy(name => name.Length));
        Assert.InRange(drawn.Length, command == "txt2img" ? 1 : 0, command == "txt2img" ? 49 : 0);
    }

    /// <summary>The second picture's place becomes a folder once the first one is there.</summary>
    [Fact]
    public async Task A_file_that_cannot_be_written_after_others_ends_the_command()
    {
        using var folder = new TemporaryFolder();
        var running = CliRun.InChildProcess(["txt2img", "-p", "cat", "--steps", "200", "-b", "50", "--batch-size", "1", "-o", folder["%d.png"]]);
        while (!File.Exists(folder["0.png"]) && !running.IsCompleted)
        {
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }

        Directory.CreateDirectory(folder["1.png"]);
        var run = await running;
        (run with { Output = "" }).AssertFailed(1, [$"cannot write '{folder["1.png"]}'", "it is a folder"]);
        Assert.StartsWith($"{folder["0.png"]}  seed 42", Assert.Single(run.Lines), StringComparison.Ordinal);
        Assert.Equal(["0.png", "1.png"], folder.Entries.Order(StringComparer.Ordinal));
    }

    /// <summary>As on a machine that the image library has no native part for: pictures are drawn, and what needs it says so before anything is drawn.</summary>
    [Fact]
    public async Task Without_the_image_library_pictures_are_drawn_and_the_rest_is_told_in_one_line()
    {
        using var folder = new TemporaryFolder();
        var program = folder["program"];
        Directory.CreateDirectory(program);
        foreach (var file in Directory.GetFiles(AppContext.BaseDirectory).Where(f => Path.GetExtension(f) is ".dll" or ".json" && !Path.GetFileName(f).Contains("Native", StringComparison.Ordinal)))
        {
            File.Copy(file, Path.Combine(program, Path.GetFileName(file)));
        }

        string[] model = ["-m", Path.Combine(AppContext.BaseDirectory, "weights", "demo")];
        Task<CliRun> Run(params string[] arguments) => CliRun.InChildProcess([.. arguments, .. model], program: program);

        var drawn = await Run("txt2img", "-p", "cat", "--steps", "1", "-o", folder["a.png"], "--save-steps", folder["steps.apng"], "--preview", "1", "--preview-path", folder["preview.png"]);
        Assert.Equal((0, ""), (drawn.Exit, drawn.Error));
        Assert.Contains("Steps: 1", PngFile.Read(folder["a.png"]).Text("parameters"), StringComparison.Ordinal);

        const string Missing = "the native part of the image library, Magick.NET, is missing";
        (await Run("img2img", "-i", folder["a.png"], "-p", "cat", "-o", folder["b.png"])).AssertFailed(1, ["cannot read the picture", "a.png", Missing]);
        (await Run("txt2img", "-p", "cat", "-o", folder["b.png"], "--save-steps", folder["b.webp"])).AssertFailed(1, ["cannot write WebP files", Missing]);
        (await Run("txt2img", "-p", "cat", "-o", folder["b.png"], "--hires", "--hires-upscaler", "lanczos")).AssertFailed(1, ["cannot enlarge a picture", Missing]);
        Assert.Equal(["a.png", "preview.png", "program", "steps.apng"], folder.Entries);
    }

    /// <summary>Whatever letters a console has.</summary>
    [Fact]
    public async Task A_pipe_gets_UTF_8_and_any_letters()
    {
        using var folder = new TemporaryFolder();
        var name = folder["ü 日本.png"];
        PngWriter.Write(name, 8, 8, new byte[192], "ein Bär, 日本, 🐻\nSteps: 1, Sampler: Euler, Seed: 1");
        Assert.Contains("prompt: ein Bär, 日本, 🐻", (await CliRun.InChildProcess(["metadata", name])).Lines);
        (await CliRun.InChildProcess(["metadata", folder["日本🐻.png"]])).AssertFailed(1, [folder["日本🐻.png"]]);
    }

    [Fact]
    public async Task Version_is_three_numbers()
    {
        var run = await CliRun.InChildProcess(["--version"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Matches(@"^\d+\.\d+\.\d+\s*$", run.Output);
    }

    [Theory]
    [InlineData("INT", 130)]
    [InlineData("TERM", 143)]
    [InlineData("HUP", 129)]
    public async Task A_signal_ends_a_run_with_its_number_and_no_file(string signal, int exit)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "sends signals with the Linux command kill");
        using var folder = new TemporaryFolder();
        var sinceSignal = new Stopwatch();
        var run = await CliRun.InChildProcess(["txt2img", "-p", "cat", "--steps", "900", "-o", folder["a.png"]], async process =>
        {
            await Task.Delay(TimeSpan.FromSeconds(3), TestContext.Current.CancellationToken);
            Assert.False(process.HasExited, "ended before the signal");
            await Send(signal, process);
            sinceSignal.Start();
        });
        TestContext.Current.TestOutputHelper?.WriteLine($"ended {sinceSignal.Elapsed.TotalSeconds:0.00} s after the signal");
        Assert.Equal((exit, "", "cancelled"), (run.Exit, run.Output, run.Error.Trim()));
        Assert.Empty(folder.Entries);
        Assert.True(sinceSignal.Elapsed < TimeSpan.FromSeconds(10), "a step of the bundled model takes far less");
    }

    /// <summary>As <c>timeout</c> stops it, or a terminal that is closed, for which there may be two signals.</summary>
    [Theory]
    [InlineData("out", "HUP")]
    [InlineData("out.safetensors", "TERM")]
    public async Task A_conversion_that_is_stopped_leaves_nothing(string name, string signal)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "sends signals with the Linux command kill");
        using var folder = new TemporaryFolder();
        var run = await CliRun.InChildProcess(["convert", "-m", "synthetic:sd15", "-o", folder[name]], async process =>
        {
            while (folder.Entries.Length == 0 && !process.HasExited)
            {
                await Task.Delay(10, TestContext.Current.CancellationToken);
            }

            await Send(signal, process);
            await Send(signal, process);
        });
        Assert.Equal("cancelled", run.Error.Trim());
        Assert.Empty(folder.Entries);
    }

    /// <summary>Whatever cultures the environment switches on: numbers are written as options take them.</summary>
    [Fact]
    public async Task Numbers_have_a_point_in_any_language()
    {
        var switchedOn = new Dictionary<string, string?> { ["LC_ALL"] = "de_DE.UTF-8", ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "0" };
        Assert.SkipUnless((await CliRun.InChildProcess(["--version"], environment: switchedOn)).Exit == 0, "there are no cultures without libicu");
        using var folder = new TemporaryFolder();
        var run = await CliRun.InChildProcess(["txt2img", "-p", "cat", "--steps", "1", "-o", folder["a.png"]], environment: switchedOn);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Matches(@"^\S+  seed 42  \d+\.\d\d s\s*$", run.Output);
    }

    /// <summary>Not where the program was started, which may be anywhere.</summary>
    [Fact]
    public async Task The_cache_of_a_user_without_a_folder_is_where_that_would_be()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there users' folders are not named by a variable");
        using var folder = new TemporaryFolder();
        var run = await CliRun.InChildProcess(
            ["inspect", "-m", "sd15"], environment: new Dictionary<string, string?> { ["HOME"] = folder["nobody"], ["XDG_CACHE_HOME"] = null });
        run.AssertFailed(1, [$"is not in the cache {folder["nobody/.cache/sdilgpu"]}:"]);
    }

    /// <summary>.NET would end the process where a model's hash is computed, and ILGPU throws an error about a file that it does not name.</summary>
    [Fact]
    public void What_the_system_lacks_is_told_in_one_line()
    {
        Surroundings.CheckOpenSsl(name => name == "libssl.so.1.1");
        Assert.Contains("libssl.so.3 is missing", Assert.Throws<StableDiffusionException>(() => Surroundings.CheckOpenSsl(_ => false)).Message, StringComparison.Ordinal);
        Surroundings.CheckFolder(() => Environment.CurrentDirectory);
        Assert.Contains("is not there any more", Assert.Throws<StableDiffusionException>(() => Surroundings.CheckFolder(() => throw new FileNotFoundException())).Message, StringComparison.Ordinal);
    }

    /// <summary>As another program may delete it.</summary>
    [Fact]
    public async Task A_folder_that_is_gone_is_told()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "deletes a shell's own folder, as Linux lets it");
        using var folder = new TemporaryFolder();
        using var shell = Process.Start(new ProcessStartInfo(
            "sh",
            [
                "-c", "mkdir \"$1/gone\"; cd \"$1/gone\"; rmdir \"$1/gone\"; shift; exec dotnet \"$@\"", "sh", folder.Path,
                Path.Combine(AppContext.BaseDirectory, "sdilgpu.dll"), "txt2img", "-p", "cat", "--steps", "1", "-o", folder["a.png"],
            ])
        {
            RedirectStandardError = true,
        })!;
        var error = await shell.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
        new CliRun(shell.ExitCode, "", error).AssertFailed(1, ["the folder that the program was started in is not there any more"]);
    }

    /// <summary>Nobody can be told anything there, and the results come all the same.</summary>
    [Theory]
    [InlineData("2>&-")]
    [InlineData("2>/dev/full")]
    public async Task A_standard_error_that_takes_nothing_ends_nothing(string redirection)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "redirects with a shell to a device of Linux");
        using var shell = Process.Start(new ProcessStartInfo(
            "sh",
            ["-c", $"exec dotnet \"$@\" {redirection}", "sh", Path.Combine(AppContext.BaseDirectory, "sdilgpu.dll"), "compare", "--devices", "cpu,cpu", "--steps", "1"])
        {
            RedirectStandardOutput = true,
        })!;
        var output = await shell.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, shell.ExitCode);
        Assert.Contains("compared with", output, StringComparison.Ordinal);
    }

    private static async Task Send(string signal, Process process)
    {
        using var kill = Process.Start("kill", [$"-{signal}", $"{process.Id}"]);
        await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
    }
}
