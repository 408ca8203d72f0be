//! A node's service and its inventory, both ends together, while everything between them fails:
//! nothing that was acknowledged is lost, nothing is told twice.
//!
//! `CUPEL_KILLS` asks for more kills than the usual twenty, `CUPEL_SEED` repeats a run.

mod chaos;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos::disk::{self, SmallDisk};
use chaos::proxy::{LIES, Lie, Proxy};
use chaos::random::Random;
use chaos::storm::Storm;
use chaos::world::{UNIT_CODE, World};

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Agent,
    Worker,
    Inventory,
}

const VICTIMS: [Victim; 3] = [Victim::Agent, Victim::Worker, Victim::Inventory];

fn kills() -> u32 {
    let asked = std::env::var("CUPEL_KILLS").or_else(|_| std::env::var("CUPEL_REPEATS"));
    asked.ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Blows while `work` goes on, on a thread of its own.
fn during<T>(
    world: &mut World,
    storm: &mut Storm,
    random: &mut Random,
    work: impl FnOnce(&mut World) -> Result<T>,
) -> Result<T> {
    let node = world.shared_node();
    let over = AtomicBool::new(false);
    let mut random = random.apart();
    std::thread::scope(|scope| {
        let blowing = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                {
                    let mut node = node.lock().map_err(|_| anyhow::anyhow!("the test fell"))?;
                    storm.blow(&mut node, &mut random)?;
                }
                std::thread::sleep(random.milliseconds(150));
            }
            Ok(())
        });
        let result = work(world);
        over.store(true, Ordering::Relaxed);
        let blown = blowing.join();
        blown.map_err(|_| anyhow::anyhow!("the storm fell"))??;
        result
    })
}

#[test]
fn killed_at_random_nothing_is_lost_and_nothing_is_doubled() -> Result<()> {
    let mut random = Random::told("kills");
    let mut world = World::new()?;
    let mut storm = Storm::default();
    world.node().start()?;
    world.settle()?;
    let mut occurrences = 0;
    let mut down = false;
    let mut killed = [0_u32; 3];
    let mut own = random.apart();
    let kills = kills();
    during(&mut world, &mut storm, &mut random, |world| {
        for number in 0..kills {
            // The fabric manager dies and comes back, twice, while others are killed. What is seen
            // and not yet told may be forgotten with its process, so it lasts until it was told.
            if world.is_open(UNIT_CODE)? == down && number % 4 == 0 && (down || occurrences < 2) {
                down = !down;
                occurrences += usize::from(down);
                world.fabric_manager(!down)?;
            }
            std::thread::sleep(own.milliseconds(1500));
            match own.pick(&VICTIMS) {
                Victim::Agent => {
                    world.kill_agent()?;
                    killed[0] += 1;
                }
                Victim::Worker => {
                    world.wait("a worker to kill", || world.kill_worker())?;
                    killed[1] += 1;
                }
                Victim::Inventory => {
                    world.kill_inventory(own.milliseconds(2000))?;
                    killed[2] += 1;
                }
            }
        }
        Ok(())
    })?;
    if down {
        world.wait("the fabric manager's end to be told", || {
            world.is_open(UNIT_CODE)
        })?;
        world.fabric_manager(true)?;
    }
    storm.conditions(&mut world.node())?;
    world.holds(&storm, occurrences)?;
    world.wait("the fabric manager's finding to be closed", || {
        Ok(!world.is_open(UNIT_CODE)?)
    })?;
    println!(
        "killed: agent {}, worker {}, inventory {}; {} lines of {} texts, each told once",
        killed[0],
        killed[1],
        killed[2],
        storm.lines(),
        storm.texts()
    );
    Ok(())
}

#[test]
fn an_inventory_that_is_away_for_the_middle_of_a_storm_hears_all_of_it_once() -> Result<()> {
    let mut random = Random::told("away");
    let mut world = World::new()?;
    let mut storm = Storm::default();
    world.node().start()?;
    world.settle()?;
    during(&mut world, &mut storm, &mut random, |world| {
        std::thread::sleep(Duration::from_secs(1));
        world.inventory.kill()?;
        world.fabric_manager(false)?;
        std::thread::sleep(Duration::from_secs(3));
        // Nobody hears it now, also not from the next life of the service.
        world.kill_agent()?;
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    })?;
    storm.conditions(&mut world.node())?;
    world.wait_for_waiting()?;
    world.inventory.restart()?;
    world.holds(&storm, 1)?;
    println!("{} lines of {} texts", storm.lines(), storm.texts());
    Ok(())
}

#[test]
fn an_inventory_behind_a_proxy_that_lies_hears_everything_once() -> Result<()> {
    let mut random = Random::told("lies");
    let mut world = World::new()?;
    let mut storm = Storm::default();
    // One true answer between two lies, so that the waits between attempts stay short.
    let mut lies = Vec::new();
    for lie in LIES {
        lies.extend([Lie::Truth, lie]);
    }
    let proxy = Proxy::before(&world.inventory.url, lies)?;
    world.report_to(&proxy.url)?;
    world.node().start()?;
    during(&mut world, &mut storm, &mut random, |world| {
        world.wait("all the lies to be told", || Ok(proxy.left() == 0))
    })?;
    storm.conditions(&mut world.node())?;
    world.holds(&storm, 0)?;
    for lie in LIES {
        ensure!(proxy.told().contains(&lie), "{lie:?} was not told");
    }
    Ok(())
}

#[test]
fn an_inventory_whose_disk_is_full_acknowledges_nothing() -> Result<()> {
    if let Some(why) = disk::not_here() {
        println!("skipped: {why}");
        return Ok(());
    }
    let mut random = Random::told("the inventory's disk");
    let mut small = None;
    let mut world = World::prepared(|directory| {
        small = Some(SmallDisk::mounted(&directory.join("inventory"), 24)?);
        Ok(())
    })?;
    let small = small.context("a disk")?;
    let mut storm = Storm::default();
    world.node().start()?;
    world.settle()?;
    let before = world.list(&format!("/v1/nodes/{}/history?kind=event", world.id))?;
    small.fill()?;
    storm.conditions(&mut world.node())?;
    during(&mut world, &mut storm, &mut random, |world| {
        world.wait_for("a report that is refused for now", |status| {
            let error = status["inventory"]["last_error"].to_string();
            error.contains("507") || error.contains("503")
        })?;
        world.wait_for_waiting()?;
        // Reading may need room too: then nothing is told at all.
        if let Ok(told) = world.list(&format!("/v1/nodes/{}/history?kind=event", world.id)) {
            ensure!(told.len() == before.len(), "told while the disk is full");
        }
        Ok(())
    })?;
    small.free()?;
    world.holds(&storm, 0)
}

#[test]
fn a_node_whose_disk_is_full_tells_everything_and_keeps_it_once_there_is_room() -> Result<()> {
    if let Some(why) = disk::not_here() {
        println!("skipped: {why}");
        return Ok(());
    }
    let mut random = Random::told("the node's disk");
    let mut world = World::new()?;
    let state = world.directory.path().join("node/root/var/lib/cupel");
    let small = SmallDisk::mounted(&state, 8)?;
    let mut storm = Storm::default();
    // Full from the beginning: not even the file can be made.
    small.fill()?;
    world.node().start()?;
    world.settle()?;
    during(&mut world, &mut storm, &mut random, |world| {
        world.wait_for("a disk that takes nothing", |status| {
            status["storage"]["saved"] == false
        })?;
        // Also nobody listens for a while: what waits, waits in memory.
        world.kill_inventory(Duration::from_secs(3))
    })?;
    small.free()?;
    storm.conditions(&mut world.node())?;
    world.holds(&storm, 0)?;
    // What is on disk now is what was told: a kill repeats nothing.
    world.kill_agent()?;
    // Full while it runs.
    small.fill()?;
    during(&mut world, &mut storm, &mut random, |world| {
        std::thread::sleep(Duration::from_secs(2));
        world.kill_inventory(Duration::from_secs(3))
    })?;
    small.free()?;
    world.holds(&storm, 0)?;
    world.kill_agent()?;
    storm.conditions(&mut world.node())?;
    world.holds(&storm, 0)?;
    drop(world);
    drop(small);
    Ok(())
}
